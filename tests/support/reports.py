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


def labelled_scores(threshold: float, base: float, nuclei: int = 20) -> dict[str, Any]:
    """A part of a summary at labelled nuclei alone; recall at half overlap is `base`."""
    values = {"labelled_recall_50": base, "labelled_recall": base - 0.2, "labelled_iou": base - 0.1}
    parts = {k: {"pooled": v, "per_image": v} for k, v in values.items()}
    distance = {"boundary_distance": {"pooled": 1.5, "per_image": 1.25}}
    stands = {"labelled_score": 0.1, "labelled_nuclei": nuclei, "unjudged": 31, "complete_area": 0}
    return {"score_threshold": threshold, **parts, **distance, **stands}


def make_partial_run(folder: Path, name: str, tested: bool = True, **options: Any) -> Path:
    """Write a finished run on a folder that is not complete, with or without test images.

    5 images with 10 labelled nuclei each, of which 2 are held out.
    """
    root = {"_target_": "nucleist.data.Folder", "root": "mine", "complete": None}
    run = make_run(folder, name, 0, source=root, val="val", **options)
    summary = json.loads((run / "summary.json").read_text())
    for part in ("test", "test_calibrated", "test_best_threshold"):
        del summary[part]
    summary |= {"labelled_nuclei": 40, "held_out_nuclei": 10}
    summary["validation"] = labelled_scores(0.4, 0.9, 10)
    if tested:
        summary |= {"test": labelled_scores(0.5, 0.7), "test_calibrated": labelled_scores(0.4, 0.8)}
    summary["best_checkpoint"] = {"step": 90, **{k: summary[k] for k in ("validation",)}}
    summary["recommended"] = {"checkpoint": "last", "why": "it is as good"}
    (run / "summary.json").write_text(json.dumps(summary))
    entry = {"ids": list(range(1, 11)), "held_out": [1, 2], "complete": False, "pixels": "0"}
    (run / "manifest.json").write_text(json.dumps({"images": {f"i{i}": entry for i in range(5)}}))
    row = {"labelled_recall": 0.6, "labelled_recall_50": 0.8, "labelled_iou": 0.7}
    row |= {"boundary_distance": 1.5, "labelled_nuclei": 10, "unjudged": 12}
    images = [{"image": f"i{i}", "score_threshold": t, **row} for i in (0, 1) for t in (0.4, 0.5)]
    write_csv(run / "per_image.csv", images)
    steps = [{"score_threshold": t, "labelled_recall_50_pooled": 1 - t} for t in (0.1, 0.5, 0.9)]
    write_csv(run / "thresholds.csv", steps)
    curve = {"val/labelled_recall_50_pooled": 0.5, "val/labelled_nuclei": 10}
    write_csv(run / "metrics.csv", [{"step": s - 1, **curve} for s in (50, 100, 150)])
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
