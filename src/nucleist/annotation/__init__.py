"""The annotation of a folder: what is outlined, who did it and when, and how it goes on."""
