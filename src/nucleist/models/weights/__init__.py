"""Weights from checkpoints, safetensors, torchvision and the Detectron pickle."""
