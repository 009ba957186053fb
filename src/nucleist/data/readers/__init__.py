"""One data set a file; `base` is shared, `blobs` helps synthetic, `pairing` helps folder."""
