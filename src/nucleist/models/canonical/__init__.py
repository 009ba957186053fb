"""Nuclei as affine copies of one learned shape."""
