"""Scores of a trained net, and of label images that any tool wrote."""
