"""One training: its task, its callbacks, its folder, and how it goes on."""
