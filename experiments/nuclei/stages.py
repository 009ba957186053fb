"""Where the time of a prediction goes, and what fewer proposals change.

NUCLEIST_DATA=FOLDER OMP_NUM_THREADS=1 python experiments/nuclei/stages.py [IMAGES [CACHE]]

CPU milliseconds of one thread, so that other programs disturb less: first of each part of the net
on a validation image of 360 px; then, on the first IMAGES validation images of three kinds, those
of the shipped weights with their own limits and with fewer proposals, one after the other on each
image: how many label maps at the stored score threshold differ in a pixel, and the pooled mAP.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import nucleist
from nucleist.config.compose import compose
from nucleist.inference.load import Model
from nucleist.inference.outline import outline
from nucleist.metrics.match_counts import counts_row, map_of
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
    records = [[data.record(i) for i in some] for some in chosen]
    stages(normalize(records[0][0].image))
    for kind, some in zip(KINDS, records, strict=True):
        images = [normalize(record.image) for record in some]
        found = [[timed(model, image) for model in models.values()] for image in images]
        truth = [record.labels for record in some]
        for place, name in enumerate(models):
            compared(f"{kind}, {name}", [(row[place], row[0]) for row in found], truth)


def compared(
    name: str,
    pairs: Sequence[tuple[tuple[float, np.ndarray], tuple[float, np.ndarray]]],
    truth: Sequence[np.ndarray],
) -> None:
    """Print a line about a model beside the first one.

    Args:
        name: Of images and model.
        pairs: Of each image: milliseconds and label map of the model, and of the first one.
        truth: Label map of each image.
    """
    milliseconds, ratio = np.mean([(own[0], own[0] / first[0]) for own, first in pairs], 0)
    other = sum(not np.array_equal(own[1], first[1]) for own, first in pairs)
    rows = [list(counts_row(t, own[1]).values()) for t, (own, _) in zip(truth, pairs, strict=True)]
    print(
        f"- {name}: {milliseconds:.0f}, ratio {ratio:.2f}, {other} of {len(pairs)} label maps "
        f"differ, mAP {float(map_of(np.sum(rows, 0))):.4f}",
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
