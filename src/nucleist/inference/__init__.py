"""A trained net at work: load it, outline nuclei, measure and draw them."""
