"""Several processes, one a device."""
