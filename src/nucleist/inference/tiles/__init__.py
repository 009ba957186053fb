"""Images of any size: outlined tile by tile, with one answer for every nucleus on a seam."""
