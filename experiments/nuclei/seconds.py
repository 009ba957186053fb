"""Seconds an image on two cores, of real images with 360 and 1000 px a side.

NUCLEIST_DATA=FOLDER python experiments/nuclei/seconds.py MODEL [CACHE]
"""

import sys
import time

import numpy as np
import torch

import nucleist
from nucleist.config.compose import compose
from nucleist.training.train import build_data

REPEATS = 5


def main(name: str, cache: str | None = None) -> None:
    """Print the fastest and the median of some predictions of each image."""
    torch.set_num_threads(2)
    data = build_data(compose("train", ["experiment=nuclei", f"data.cache={cache or 'null'}"]))
    model = nucleist.load(name, device="cpu")
    kinds = data.source.kinds()
    for kind, side in (("360x360", 360), ("1024x1024", 1000), ("520x696", 1000)):
        image_id = next(i for i in data.ids("test") if kinds[i] == kind)
        image = data.record(image_id).image
        times = -(-side // min(image.shape[:2]))
        image = np.tile(image, (times, times, 1))[:side, :side]
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            found = model.predict(image)
            seconds.append(time.perf_counter() - start)
        print(
            f"{side} px of {kind}: {min(seconds):.2f} s, median {np.median(seconds):.2f} s, "
            f"{len(found.scores)} nuclei"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
