"""Many trainings: what they are, how they are started, which settings are best."""
