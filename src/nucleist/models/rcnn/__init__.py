"""Mask R-CNN from torchvision's parts, plain and for partial annotation."""
