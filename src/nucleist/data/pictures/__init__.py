"""Images of any size and format, read window by window."""
