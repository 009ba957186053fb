"""From settings and YAML to objects. Nothing outside this folder imports Hydra."""
