"""Score what a peer wrote: its best setting on validation images, its counts on the test images."""

from pathlib import Path
from typing import Any

import numpy as np

import nucleist
from nucleist.data.formats.label_maps import read_label_map
from nucleist.files import read_json
from nucleist.metrics.match_counts import counts_row, map_of


def labels_in(path: Path) -> np.ndarray:
    return read_label_map(path.read_bytes(), str(path))


def counted(truth: Path, found: Path) -> dict[str, list[int]]:
    """The counts of each image, of `nucleist.metrics.match_counts.COLUMNS`."""
    return {
        path.stem: list(counts_row(labels_in(path), labels_in(found / path.name)).values())
        for path in sorted(truth.glob("*.tif"))
    }


def pooled(rows: dict[str, list[int]]) -> float:
    """mAP of counts that are added up."""
    return float(map_of(np.array(list(rows.values())).sum(0)))


def best_setting(folder: Path, out: Path) -> str:
    """The setting with the highest pooled mAP on the validation images."""
    truth = folder / "val" / "labels"
    found = {path.name: pooled(counted(truth, path)) for path in sorted((out / "val").iterdir())}
    return max(found, key=lambda name: found[name])


def scored(folder: Path, out: Path) -> dict[str, Any]:
    """The counts of the test images at the setting that was chosen."""
    about = read_json(folder / "about.json", "run it again")
    train, grid, test = (
        read_json(out / f"{name}.json", "run it again") for name in ("train", "grid", "predict")
    )
    truth = folder / "test" / "labels"
    rows = counted(truth, out / "test")
    score = nucleist.evaluate(out / "test", truth).summary["map"]["pooled"]
    assert abs(score - pooled(rows)) < 1e-5, "the counts are not what nucleist evaluate scores"
    return {
        "summary": f"mAP {score:.4f} at {test['setting']}",
        "labelled_nuclei": about["labelled_nuclei"],
        "train_cpu_seconds": train["fit_seconds"],
        "steps": train["steps"],
        "grid_cpu_seconds": grid["cpu_seconds"],
        "seconds_an_image": float(np.median(test["seconds"])),
        "peak_gb": {"train": train["peak_gb"], "predict": test["peak_gb"]},
        "thresholds": {"validation": test["setting"]},
        "map": {"validation": round(score, 6)},
        "test": {
            name: {"field": about["fields"][name], "validation": row} for name, row in rows.items()
        },
    }
