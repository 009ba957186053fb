"""Where the time of a prediction goes, and what fewer proposals change.

NUCLEIST_DATA=FOLDER OMP_NUM_THREADS=1 python experiments/nuclei/stages.py [IMAGES [CACHE]]

CPU milliseconds of one thread, so that other programs disturb less: first of each part of the net
on a validation image of 360 px; then, on the first IMAGES validation images of three kinds, those
of the shipped weights with their own limits and with fewer proposals, one after the other on each
image, and how many label maps at the stored score threshold differ in a pixel.
"""

import sys
import time
from collections import defaultdict
from typing import Any

import numpy as np
import torch

import nucleist
from nucleist.config.compose import compose
from nucleist.inference.load import Model
from nucleist.inference.outline import outline
from nucleist.training.train import build_data

KINDS = ("360x360", "520x696", "256x256")
FEWER = {
    f"{post} of {pre} proposals a level": {
        "rpn.post_nms_top_n.testing": post,
        "rpn.pre_nms_top_n.testing": pre,
    }
    for post, pre in ((500, 2000), (300, 1000), (200, 500))
}
"""At inference; those with an objectness above 0.5 stay whatever the limit."""


def timed(model: Model, image: np.ndarray) -> tuple[float, np.ndarray]:
    """CPU milliseconds and the label map at the stored score threshold."""
    begun = time.process_time()
    found = outline(model.net, image, floor=model.threshold)
    return 1000 * (time.process_time() - begun), found["label_map"].numpy()


def watched(parts: dict[str, tuple[Any, str]], spent: dict[str, float]) -> None:
    """Add the CPU milliseconds of some methods to `spent`, from now on."""
    for label, (part, method) in parts.items():
        setattr(part, method, _timing(getattr(part, method), label, spent))


def _timing(call: Any, label: str, spent: dict[str, float]) -> Any:
    def inner(*args: Any, **options: Any) -> Any:
        begun = time.process_time()
        result = call(*args, **options)
        spent[label] += 1000 * (time.process_time() - begun)
        return result

    return inner


def stages(image: np.ndarray, repeats: int = 3) -> None:
    """Print the parts of one prediction; those that are indented are in the one above."""
    model = nucleist.load("nuclei", device="cpu")
    net: Any = model.net
    spent: dict[str, float] = defaultdict(float)
    heads = net.roi_heads
    timed(model, image)
    parts = {
        "backbone": (net.backbone, "forward"),
        "proposals": (net.rpn, "forward"),
        "  suppression": (net.rpn, "filter_proposals"),
        "heads": (heads, "forward"),
        "  pooling for the boxes": (heads.box_roi_pool, "forward"),
        "  box head": (heads.box_head, "forward"),
        "  pooling for the masks": (heads.mask_roi_pool, "forward"),
        "  mask head": (heads.mask_head, "forward"),
        "painting": (net.transform, "postprocess"),
    }
    watched(parts, spent)
    whole = [timed(model, image)[0] for _ in range(repeats)]
    print(f"- whole prediction: {np.mean(whole):.0f}")
    for label in parts:
        print(f"- {label}: {spent[label] / repeats:.0f}")


def main(images: str = "3", cache: str | None = None) -> None:
    """Print both lists."""
    torch.set_num_threads(1)
    data = build_data(compose("train", ["experiment=nuclei", f"data.cache={cache or 'null'}"]))
    kinds = data.source.kinds()
    chosen = [[i for i in data.ids("val") if kinds[i] == kind][: int(images)] for kind in KINDS]
    models = {"as it is": nucleist.load("nuclei", device="cpu")}
    models |= {n: nucleist.load("nuclei", device="cpu", options=o) for n, o in FEWER.items()}
    normalize = models["as it is"].normalize
    pictures = [[normalize(data.record(i).image) for i in some] for some in chosen]
    stages(pictures[0][0])
    for kind, some in zip(KINDS, pictures, strict=True):
        found = [[timed(model, image) for model in models.values()] for image in some]
        for place, name in enumerate(models):
            milliseconds = [row[place][0] for row in found]
            ratio = np.mean([row[place][0] / row[0][0] for row in found])
            other = sum(not np.array_equal(row[place][1], row[0][1]) for row in found)
            print(f"- {kind}, {name}: {np.mean(milliseconds):.0f}, ratio {ratio:.2f}, "
                  f"{other} of {len(some)} label maps differ")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
