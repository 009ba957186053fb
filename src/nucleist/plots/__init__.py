"""Everything that draws from arrays: overlays of nuclei, panels, heat maps, curves of scores."""
