"""Pure functions on tensors and arrays: no files, no configuration, no state."""
