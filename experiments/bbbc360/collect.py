"""Write the tables and figures of this experiment from its run folders.

python experiments/bbbc360/collect.py runs/bbbc360 experiments/bbbc360
"""

import csv
import json
import shutil
import sys
from pathlib import Path
from statistics import fmean

from nucleist.plots.curves import save_curves, save_threshold_curves
from nucleist.report.comparison import SCORES, markdown_table
from nucleist.report.table import over_seeds
from nucleist.training.finished import Run, read_run

NAMES = {
    "bbbc360_baseline": "all labels, Mask R-CNN",
    "bbbc360_25_baseline": "25 %, Mask R-CNN",
    "bbbc360_25crop_baseline": "25 % crop, Mask R-CNN",
    "bbbc360_25_pa": "25 %, PA",
    "bbbc360_25_pa_warmup": "25 %, PA, warm-up",
    "bbbc360_05_baseline": "5 %, Mask R-CNN",
    "bbbc360_05_pa": "5 %, PA",
}
PARTS = {
    "test": "fixed score threshold 0.5",
    "test_calibrated": "threshold calibrated on the labelled training nuclei alone",
    "test_best_threshold": "best threshold of the curve, which looks at the test labels",
}

HEAD = ["experiment", "seed", "labelled_nuclei", "steps", "train_seconds"]
COLUMNS = [f"{score}_{how}" for score in SCORES for how in ("pooled", "per_image")]


def finished(folder: Path) -> dict[str, list[Run]]:
    runs = {}
    for name, title in NAMES.items():
        files = sorted(folder.glob(f"{name}:*.done"))
        if files:
            runs[title] = [read_run(Path(f.read_text().split()[-1])) for f in files]
    return runs


def ratios(runs: dict[str, list[Run]]) -> str:
    def scores(title: str, part: str) -> list[float]:
        return [run.summary[part]["map"]["pooled"] for run in runs[title]]

    full = next(iter(runs))
    lines = ["| model | fixed 0.5 | calibrated | best threshold |", "|---|---|---|---|"]
    for title in runs:
        cells = [f"{fmean(scores(title, p)) / fmean(scores(full, p)):.3f}" for p in PARTS]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def best_checkpoint(runs: dict[str, list[Run]]) -> str:
    lines = ["| model | last | best of the curve |", "|---|---|---|"]
    for title, some in runs.items():
        curves = [[y for _, y in run.curve("val/map_pooled")] for run in some]
        last, best = over_seeds(c[-1] for c in curves), over_seeds(max(c) for c in curves)
        lines.append(f"| {title} | {last} | {best} |")
    return "\n".join(lines) + "\n"


def main(source: Path, target: Path) -> None:
    runs = finished(source)
    text = [f"### At the {words}\n\n{markdown_table(runs, part)}" for part, words in PARTS.items()]
    per_image = markdown_table(runs, "test", "per_image")
    text.append(f"### Mean over images, fixed score threshold 0.5\n\n{per_image}")
    text.append(f"### mAP (pooled) relative to all labels\n\n{ratios(runs)}")
    chosen = "### mAP at 0.5 of the last and of the best checkpoint (chosen on the test set)"
    text.append(f"{chosen}\n\n{best_checkpoint(runs)}")
    (target / "results.md").write_text("\n".join(text))
    with (target / "results.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*HEAD, "threshold_kind", "score_threshold", *COLUMNS])
        for some in runs.values():
            for run in some:
                s = run.summary
                head = [s[key] for key in HEAD]
                for part in PARTS:
                    row = [s[part][m][how] for m in SCORES for how in ("pooled", "per_image")]
                    table.writerow([*head, part, s[part]["score_threshold"], *row])
    save_curves(
        target / "curves.png",
        {title: [run.curve("val/map_pooled") for run in some] for title, some in runs.items()},
        title="BBBC038, 360 x 360 px: test mAP at score 0.5",
    )
    save_threshold_curves(
        target / "thresholds.png",
        {title: [run.thresholds("map_pooled") for run in some] for title, some in runs.items()},
        chosen={
            title: fmean(run.summary["test_calibrated"]["score_threshold"] for run in some)
            for title, some in runs.items()
        },
        title="BBBC038, 360 x 360 px: test mAP",
    )
    for title in ("25 %, PA", "5 %, PA"):
        if title in runs:
            name = next(key for key, value in NAMES.items() if value == title)
            for figure in ("overlays", "center_map", "attention_map"):
                shutil.copy(
                    runs[title][0].folder / "figures" / f"{figure}.png",
                    target / f"{name}_{figure}.png",
                )
    print(json.dumps({title: len(some) for title, some in runs.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
