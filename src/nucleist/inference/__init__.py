"""Use a trained net: load it, outline nuclei, measure and draw them."""
