"""Compare the AJI of DIST on each Kumar test image with published DIST and our PA Mask R-CNN.

python experiments/dist_kumar/collect.py TARGET --dist RUN [RUN ...] --pa RUN [RUN ...]

Several runs of one model differ in their seed. The published numbers are those of Naylor et al.,
IEEE TMI 2019, as printed in Table 3 of Feng et al., IEEE Access 2019. That table numbers the two
images of an organ without naming them; `nucleist.report.organ_tables` describes how we pair them.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from nucleist.report.organ_tables import PAIRING, p_values, signed_rank, slots
from nucleist.report.published import published
from nucleist.report.table import over_seeds
from nucleist.training.finished import read_run
from nucleist.types import UserError

Values = dict[str, list[float]]
ENOUGH = 6
"""Images below which no outcome of Wilcoxon's test reaches p = 0.05."""


def per_image(runs: Sequence[Path], part: str) -> Values:
    """AJI of each image, a value for each run, at the threshold of a part of the summary.

    Raises:
        UserError: If the runs were tested on different images.
    """
    values: Values = {}
    for run in runs:
        threshold = read_run(run).summary[part]["score_threshold"]
        with (run / "per_image.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if abs(float(row["score_threshold"]) - threshold) < 1e-6:
                    values.setdefault(row["image"], []).append(float(row["aji"]))
    if any(len(found) != len(runs) for found in values.values()):
        raise UserError(f"{runs[-1]}: tested on other images than the runs before it")
    return values


def table(dist: Values, pa: Mapping[str, Values]) -> str:
    """A row for each image, and the means."""
    places = slots(dist)
    printed = {(r["organ"], int(r["number"])): r for r in published("table3")[:-1]}
    heads = ["organ", "image", "DIST", *(f"PA Mask R-CNN, {title}" for title in pa)]
    heads += ["*DIST, published*", "*PA, published*"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    columns = [dist, *pa.values()]
    for image, slot in places.items():
        cells = [slot[0] if slot else "unknown", image]
        cells += [str(over_seeds(values[image])) if image in values else "-" for values in columns]
        row = printed[slot] if slot else {}
        cells += [f"*{float(row[key]):.4f}*" if row else "" for key in ("dist", "ours")]
        lines.append("| " + " | ".join(cells) + " |")
    means = [f"{fmean(fmean(v) for v in values.values()):.3f}" for values in columns]
    shared = [printed[slot] for slot in places.values() if slot]
    for title, own, rows in (
        (f"mean of these {len(places)}", means, shared),
        ("mean of the paper's 14", ["" for _ in columns], list(printed.values())),
    ):
        theirs = [f"*{fmean(float(row[key]) for row in rows):.4f}*" for key in ("dist", "ours")]
        lines.append("| " + " | ".join([title, "", *own, *theirs]) + " |")
    return "\n".join(lines) + "\n"


def tests(dist: Values, pa: Mapping[str, Values]) -> str:
    """Wilcoxon's signed-rank test of our DIST against each of the others."""
    mine = {image: fmean(values) for image, values in dist.items()}
    known = {image: slot for image, slot in slots(dist).items() if slot}
    lines = ["| our DIST against | images | mean difference | p |", "|---|---|---|---|"]
    for title, values in pa.items():
        images = sorted(mine.keys() & values.keys())
        own, other = ([v[i] for i in images] for v in (mine, {i: fmean(values[i]) for i in images}))
        p = f"{signed_rank(own, other):.3f}" if len(images) >= ENOUGH else "too few images"
        gap = fmean(own) - fmean(other)
        lines.append(f"| our PA Mask R-CNN, {title} | {len(images)} | {gap:+.3f} | {p} |")
    for key, title in (("dist", "DIST"), ("cnn3", "CNN3"), ("ours", "PA Mask R-CNN")):
        theirs = {(r["organ"], int(r["number"])): float(r[key]) for r in published("table3")[:-1]}
        gap = fmean(mine[i] for i in known) - fmean(theirs[slot] for slot in known.values())
        p = "too few images"
        if len(known) >= ENOUGH:
            straight, low, high = p_values({i: mine[i] for i in known}, known, theirs)
            p = f"{straight:.3f} ({low:.3f} to {high:.3f} over all pairings)"
        lines.append(f"| *{title}, published* | {len(known)} | {gap:+.3f} | {p} |")
    return "\n".join(lines) + "\n"


def main(target: Path, dist: Sequence[Path], pa: Sequence[Path]) -> None:
    """Write `results.md`."""
    # All scores of DIST are above 0.5, so all its nuclei count.
    ours = per_image(dist, "test")
    parts = {"fixed 0.5": "test", "calibrated": "test_calibrated"}
    theirs = {title: per_image(pa, part) for title, part in parts.items()} if pa else {}
    seeds = f"{len(dist)} run(s) of DIST, {len(pa)} of PA Mask R-CNN (25 % of the nuclei labelled)"
    target.mkdir(parents=True, exist_ok=True)
    text = f"AJI; {seeds}. Columns in italics are published numbers. {PAIRING}\n\n"
    results = f"{text}{table(ours, theirs)}\n{tests(ours, theirs)}"
    (target / "results.md").write_text(results)
    print(results, end="")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--dist", type=Path, nargs="+", required=True)
    parser.add_argument("--pa", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    main(options.target, options.dist, options.pa)
