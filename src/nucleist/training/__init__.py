"""One training: its task, callbacks and run folder, and how it is resumed."""
