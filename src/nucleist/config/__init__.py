"""From words and YAML to objects: the one room that knows Hydra."""
