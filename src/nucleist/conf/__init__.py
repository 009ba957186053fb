"""Configuration files; a package so that an installed wheel finds them."""
