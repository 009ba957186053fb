"""The page of `nucleist annotate`: a server on this computer alone, for one person."""
