"""Run folders as `nucleist train` leaves them, with figures chosen by hand."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

METRICS = ("map", "aji", "ncs", "precision", "recall", "pq")
METRICS += ("f1_50", "f1_mean", "pixel_iou", "pixel_dice")
BASELINE, PA = "nucleist.models.mask_rcnn", "nucleist.models.mask_rcnn_pa"
TITLES = {BASELINE: "Mask R-CNN", PA: "PA Mask R-CNN"}


def scores(threshold: float, base: float) -> dict[str, Any]:
    """A part of a summary: metric `i` is `base + i / 100`, over images 0.001 more."""
    values = {m: round(base + i / 100, 6) for i, m in enumerate(METRICS)}
    return {"score_threshold": threshold} | {
        m: {"pooled": v, "per_image": round(v + 0.001, 6)} for m, v in values.items()
    }


def settings(name: str, seed: int, model: str, **options: Any) -> dict[str, Any]:
    source = {"_target_": "nucleist.data.BBBC038", "root": "${data_root}/bbbc038", "train": 60}
    config: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "data": {
            "annotation_fraction": options.get("fraction", 1.0),
            "crop_fraction": options.get("crop"),
            "exemplars": options.get("exemplars"),
            "manifest": options.get("manifest"),
            "seed": options.get("data_seed", "${seed}"),
            "annotation_seed": options.get("annotation_seed", "${seed}"),
            "supervision": options.get("supervision", "instances"),
            "source": options.get("source", source),
            "splits": {"train": "train", "val": options.get("val", "test"), "test": "test"},
        },
        "model": {"_target_": model},
        "callbacks": {"progress": {"_target_": "nucleist.training.callbacks.progress_bar"}},
    }
    if "anchor" in options:
        config["model"]["center"] = {"anchor_size": options["anchor"]}
    if "warmup" in options:
        config["callbacks"]["warmup"] = {"steps": options["warmup"]}
    return config


def make_run(folder: Path, name: str, seed: int, model: str = PA, **options: Any) -> Path:
    """Write a finished run.

    Options: `test`, `calibrated` and `best` (base of the scores), `curve` (base at each step),
    `images` (rows of per_image.csv), `fraction`, `crop`, `exemplars`, `nuclei`, `warmup`,
    `anchor`, `source`, `val`, `summary` (more entries), `command`, `manifest`, `annotation_seed`,
    `data_seed`, `supervision`.
    """
    run = folder / name / f"2026010{seed + 1}-000000-abc-{options.get('process', 1)}"
    run.mkdir(parents=True)
    text = yaml.safe_dump(settings(name, seed, model, **options), sort_keys=False)
    (run / "config.yaml").write_text(text)
    environment = {"nucleist": "0.1.0", "git": "0123456789" * 4}
    environment["command"] = options.get("command", f"nucleist train experiment={name} seed={seed}")
    (run / "environment.json").write_text(json.dumps(environment))
    summary = {
        "experiment": name,
        "seed": seed,
        "annotation_fraction": options.get("fraction", 1.0),
        "exemplars": options.get("exemplars"),
        "crop_fraction": options.get("crop"),
        "labelled_nuclei": options.get("nuclei", 100),
        "steps": 150,
        "model": TITLES.get(model, ""),
        "parameters": 2_400_000,
        "train_seconds": 300.0,
        "test": scores(0.5, options.get("test", 0.5)),
        "test_calibrated": scores(options.get("threshold", 0.4), options.get("calibrated", 0.55)),
        "test_best_threshold": scores(0.3, options.get("best", 0.6)),
        **options.get("summary", {}),
    }
    (run / "summary.json").write_text(json.dumps(summary))
    write_curve(run / "metrics.csv", options.get("curve", {50: 0.1, 100: 0.4, 150: 0.5}))
    write_csv(
        run / "thresholds.csv",
        [{"score_threshold": t, "map_pooled": 0.6 - abs(t - 0.4)} for t in (0.1, 0.4, 0.5, 0.9)],
    )
    write_images(run / "per_image.csv", summary, options.get("images", {"a": 0.2, "b": 0.7}))
    (run / "figures").mkdir()
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(run / "figures" / "overlays.png")
    return run


def write_curve(path: Path, curve: dict[int, float]) -> None:
    """Validation at steps as Lightning logs them: the step before, and rows of losses between."""
    rows: list[dict[str, Any]] = []
    for step, base in curve.items():
        rows.append({"step": step - 1, "train/loss": 1.0})
        names = {f"val/{m}_pooled": base + i / 100 for i, m in enumerate(METRICS)}
        rows.append({"step": step - 1, "train/loss": "", **names})
    write_csv(path, [{**dict.fromkeys(rows[-1], ""), **row} for row in rows])


def write_images(path: Path, summary: dict[str, Any], images: dict[str, float]) -> None:
    """One row an image and threshold; the second has 0.1 more AJI."""
    rows = []
    for image, value in images.items():
        for part, more in (("test", 0.0), ("test_calibrated", 0.1)):
            row = {"image": image, "score_threshold": summary[part]["score_threshold"]}
            row |= {"map": value, "aji": round(value + more, 9), "nuclei": 20.0, "detections": 18.0}
            rows.append(row)
    write_csv(path, rows)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
