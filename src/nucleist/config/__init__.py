"""From words and YAML to objects. Hydra is imported in this folder alone."""
