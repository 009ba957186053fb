"""Measure one finished cell: counts on validation and test, as a small JSON file.

    python -m experiments.protocol.measure RUN RESULT GROUP FOLD SEED LABELS METHOD STEPS

`run.py` calls it. RUN is the run folder, RESULT the file to write.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from experiments.protocol.cells import Cell
from nucleist.config.compose import compose
from nucleist.data.module import NucleiData
from nucleist.data.targets import to_tensor
from nucleist.evaluation.match_counts import GRID, best_threshold, match_counts
from nucleist.evaluation.model import build_data
from nucleist.files import read_json, read_json_if_there, write_text
from nucleist.inference.load import Model, load
from nucleist.inference.outline import outline
from nucleist.metrics.functional import aggregated_jaccard_index
from nucleist.metrics.match_counts import MatchCounts, as_rows, map_of
from nucleist.ops.labels import at_threshold
from nucleist.training.calibration import calibrate

FIXED = 0.5
CURVE = (GRID[0], *(t for t in GRID if round(100 * t) % 5 == 0))


def threshold_from_few(model: Model, data: NucleiData) -> float:
    """The threshold `c/2` from validation images labelled as sparsely as the training images."""
    return calibrate(
        model.net,
        (
            (
                to_tensor(data.whole(i).image),
                torch.from_numpy(data.annotation.visible(data.record(i))),
            )
            for i in data.ids("val")
        ),
        held_out=True,
    )


def pooled(counts: Mapping[str, MatchCounts]) -> list[int]:
    return [int(n) for n in as_rows(counts.values()).sum(0)]


def measured(run: Path, cell: Cell) -> dict[str, object]:
    model = loaded(run / "checkpoints" / "last.ckpt")
    data = build_data(compose("evaluate", []), model, None)
    return {**about(run, cell), **scored(model, data)}


def loaded(path: Path | str) -> Model:
    """A model that also shows what it is hardly sure of: the nets' own 0.05 hides that."""
    torch.set_num_threads(1)
    return load(path, device="cpu", options={"roi.score_thresh": GRID[0]})


def about(run: Path, cell: Cell) -> dict[str, object]:
    """What was trained."""
    summary, environment = (
        read_json(run / f"{name}.json", "run the cell again") for name in ("summary", "environment")
    )
    return {
        "cell": cell._asdict(),
        "labelled_nuclei": summary["labelled_nuclei"],
        "train_seconds": summary["train_seconds"],
        "train_cpu_seconds": read_json_if_there(run.parent / "cpu.json").get("seconds"),
        "commit": environment["git"],
        "overrides": cell.overrides(),
    }


def scored(model: Model, data: NucleiData) -> dict[str, object]:
    """Thresholds from the validation images, and the counts of the test images at them."""
    val = match_counts(model, {i: data.whole(i) for i in data.ids("val")}, GRID)
    thresholds = {
        "fixed": FIXED,
        "validation": best_threshold(val),
        "few": round(threshold_from_few(model, data), 4),
        "training": round(model.threshold, 4),
    }
    wanted = sorted({*thresholds.values(), *CURVE})
    test = match_counts(model, {i: data.whole(i) for i in data.ids("test")}, wanted)
    groups = data.source.groups()
    scores = {name: float(map_of(pooled(test[t]))) for name, t in thresholds.items()}
    return {
        "summary": f"mAP {scores['validation']:.4f} at {thresholds['validation']:.2f}",
        "images": {use: len(data.ids(use)) for use in ("train", "val", "test")},
        "thresholds": thresholds,
        "map": {name: round(score, 6) for name, score in scores.items()},
        "aji": overlap(model, data, thresholds["validation"]),
        "curve": {
            "validation": {str(t): pooled(val[t]) for t in CURVE},
            "test": {str(t): pooled(test[t]) for t in CURVE},
        },
        "test": {
            i: {
                "field": groups[i],
                **{name: test[t][i].row() for name, t in thresholds.items()},
            }
            for i in data.ids("test")
        },
    }


def overlap(model: Model, data: NucleiData, threshold: float) -> dict[str, float]:
    """AJI of each test image, as the papers about Kumar have it."""
    found = {}
    for image_id in data.ids("test"):
        whole = data.whole(image_id)
        labels = at_threshold(outline(model.net, whole.image), threshold)
        aji = aggregated_jaccard_index(whole.labels, labels.numpy())
        found[image_id] = round(aji, 6)
    return found


def compact(content: Mapping[str, object]) -> str:
    """JSON with one image a line: small, and readable in a diff."""
    lines = []
    for key, value in content.items():
        if key in ("test", "curve") and isinstance(value, dict):
            inner = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            lines.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(run: str, result: str, group: str, fold: str, seed: str, *rest: str) -> None:
    labels, method, steps = rest
    cell = Cell(group, int(fold), int(seed), labels, method, int(steps))
    write_text(Path(result), compact(measured(Path(run), cell)))


if __name__ == "__main__":
    main(*sys.argv[1:])
