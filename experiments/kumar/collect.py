"""Write AJI and mAP of each Kumar test image of a run as Markdown.

python experiments/kumar/collect.py RUN experiments/kumar
"""

import csv
import sys
from pathlib import Path
from statistics import fmean

from nucleist.training.finished import read_run


def main(run: Path, target: Path) -> None:
    summary = read_run(run).summary
    with (run / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        "| image | score threshold | nuclei | detections | AJI | mAP |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["image"], f"{float(row['score_threshold']):.2f}"]
        cells += [f"{float(row[key]):.0f}" for key in ("nuclei", "detections")]
        lines.append(
            "| " + " | ".join([*cells, *(f"{float(row[k]):.3f}" for k in ("aji", "map"))]) + " |"
        )
    for threshold in sorted({row["score_threshold"] for row in rows}, key=float):
        own = [row for row in rows if row["score_threshold"] == threshold]
        means = [f"{fmean(float(row[key]) for row in own):.3f}" for key in ("aji", "map")]
        lines.append(f"| mean | {float(threshold):.2f} | | | {means[0]} | {means[1]} |")
    for part in ("test", "test_calibrated"):
        s = summary[part]
        pooled = f"{s['aji']['pooled']:.3f} | {s['map']['pooled']:.3f}"
        lines.append(f"| pooled | {s['score_threshold']:.2f} | | | {pooled} |")
    (target / "results.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
