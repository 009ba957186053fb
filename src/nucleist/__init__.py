"""nucleist: find and outline cell nuclei when only some of them are labelled."""

__version__ = "0.1.0"
