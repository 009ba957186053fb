"""Tables of this experiment from its run folders: the paper's Table 1, and the kinds of labels.

python experiments/canonical_shape/collect.py runs/canonical_shape runs/bbbc360 TARGET

Costa et al., MIDL 2022, Table 1. Rows that were not run have dashes.
"""

import csv
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nucleist.files import read_json
from nucleist.inference.load import load
from nucleist.report.table import over_seeds
from nucleist.training.finished import read_run
from nucleist.types import UserError

METRICS = {"pixel_iou": "IoU", "pixel_dice": "Dice", "f1_50": "F1@.5", "f1_mean": "F1 mean"}
HOW = {"pooled": "pooled", "per_image": "per patch"}
TESTED = (128, True)
"""Grid and post-processing of the test at the end of a run."""


class Setting(NamedTuple):
    """A row of Table 1.

    Attributes:
        approach: Name in the paper.
        name: The experiment.
        grid: Option `grid` of the net; None for nets without it.
        post: Whether the post-processing P (option `group`) is on; None for nets without it.
        paper: The paper's percentages, in the order of `METRICS`.
    """

    approach: str
    name: str
    grid: int | None
    post: bool | None
    paper: tuple[float | None, ...]


NONE = (None, None, None, None)
PLAIN, COUNT = "canonical_shape_no_count", "canonical_shape"
SETTINGS = (
    Setting("DeepLabV3", "canonical_deeplabv3", None, None, (74.29, 85.25, None, None)),
    Setting("Mask R-CNN", "canonical_mask_rcnn", None, None, (82.15, 90.20, 78.75, 69.81)),
    Setting("ours", PLAIN, 32, False, (71.38, 83.30, 32.49, 34.08)),
    Setting("ours", PLAIN, 128, False, (72.25, 83.89, 30.55, 32.39)),
    Setting("ours + P", PLAIN, 32, True, NONE),
    Setting("ours + P", PLAIN, 128, True, (72.25, 83.89, 57.57, 51.99)),
    Setting("ours + L_cnt", COUNT, 32, False, (70.60, 82.77, 65.10, 56.43)),
    Setting("ours + L_cnt", COUNT, 128, False, (71.02, 83.06, 65.36, 57.00)),
    Setting("ours + L_cnt + P", COUNT, 32, True, NONE),
    Setting("ours + L_cnt + P", COUNT, 128, True, (71.02, 83.06, 68.47, 60.27)),
)


class Result(NamedTuple):
    """What was measured.

    Attributes:
        scores: Percentages by (metric, average).
        patches: Number of test patches.
        nuclei: Number of true nuclei in them.
        detections: Number of detections in them.
        steps: Steps of the training.
        seconds: Seconds of the training.
    """

    scores: Mapping[tuple[str, str], float]
    patches: int
    nuclei: int
    detections: int
    steps: int
    seconds: float


def run_of(runs: Path, name: str) -> Path | None:
    """Folder of the finished run of an experiment; None if there is none."""
    done = runs / f"{name}.done"
    return Path(done.read_text().split()[-1]) if done.is_file() else None


def result_of(runs: Path, setting: Setting) -> Result | None:
    """Results of a row at the fixed score threshold; None if it was not run."""
    run = run_of(runs, setting.name)
    if run is None:
        return None
    folder = run
    if setting.grid is not None and (setting.grid, setting.post) != TESTED:
        folder = run / f"grid{setting.grid}_group_{str(setting.post).lower()}"
        if not (folder / "summary.json").is_file():
            return None
    trained = read_run(run).summary
    summary = read_json(folder / "summary.json", "evaluate the run again")["test"]
    with (folder / "per_image.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if float(r["score_threshold"]) == 0.5]
    # If the calibrated threshold is 0.5 too, a patch has one row all the same.
    return Result(
        {(m, how): 100 * summary[m][how] for m in METRICS for how in HOW},
        len(rows),
        *(sum(int(float(r[key])) for r in rows) for key in ("nuclei", "detections")),
        trained["steps"],
        trained["train_seconds"],
    )


def table1(results: Mapping[Setting, Result | None]) -> str:
    """Our results beside the paper's Table 1, in percent."""
    averages = [("pooled", m) for m in METRICS] + [("per_image", m) for m in METRICS]
    head = ["approach", "grid", *(f"{METRICS[m]}, {HOW[how]}" for how, m in averages)]
    head += [f"*paper {title}*" for title in METRICS.values()]
    head += ["detections / nuclei", "steps", "training, s"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for setting, result in results.items():
        cells = [setting.approach, str(setting.grid or "")]
        if result is None:
            cells += ["-"] * len(averages)
        else:
            cells += [f"{result.scores[m, how]:.2f}" for how, m in averages]
        cells += ["" if value is None else f"*{value:.2f}*" for value in setting.paper]
        if result is not None:
            found = f"{result.detections} / {result.nuclei}"
            cells += [found, str(result.steps), f"{result.seconds:.0f}"]
        else:
            cells += ["-"] * 3
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def patterns(results: Mapping[Setting, Result | None], runs: Path) -> str:
    """Which patterns of the paper hold here, with the numbers that are compared."""
    found = {(s.name, s.grid, s.post): r for s, r in results.items() if r is not None}
    lines = ["| pattern of the paper | ours | holds |", "|---|---|---|"]
    for text, keys, figures in _claims():
        if any(key not in found for key in keys):
            lines.append(f"| {text} | not run | - |")
            continue
        values = figures(*(found[key] for key in keys))
        compared = "; ".join(
            f"{about} {left:.2f} and {right:.2f}".strip() for about, left, right in values
        )
        lines.append(f"| {text} | {compared} | {_verdict([a > b for _, a, b in values])} |")
    for name, title in ((COUNT, "with"), (PLAIN, "without")):
        text = f"The shape {title} the count loss is a circle: angular deviation below 0.05"
        run = run_of(runs, name)
        if run is None:
            lines.append(f"| {text} | not run | - |")
        else:
            net: Any = load(run / "checkpoints" / "last.ckpt", device="cpu").net
            deviation = net.angular_deviation()
            lines.append(f"| {text} | {deviation:.4f} | {_verdict([deviation < 0.05])} |")
    return "\n".join(lines) + "\n"


def _verdict(each: list[bool]) -> str:
    return "yes" if all(each) else "in part" if any(each) else "no"


Compared = list[tuple[str, float, float]]
Claim = tuple[str, list[tuple[str, int | None, bool | None]], Callable[..., Compared]]


def _claims() -> list[Claim]:
    """Text, the rows it is about, and pairs of numbers of which the first must be greater."""
    plain, plain_p, count, count_p = (
        (name, 128, post) for name in (PLAIN, COUNT) for post in (False, True)
    )
    coarse = [(PLAIN, 32, False), (COUNT, 32, False)]
    mask, deep = ("canonical_mask_rcnn", None, None), ("canonical_deeplabv3", None, None)
    return [
        (
            "Without the count loss the mask IoU is higher",
            [*coarse, plain, count],
            lambda p32, c32, p, c: [
                ("grid 32:", _iou(p32), _iou(c32)),
                ("grid 128:", _iou(p), _iou(c)),
            ],
        ),
        (
            "Without the count loss instances fragment: more detections a nucleus, lower F1@.5",
            [plain, count],
            lambda p, c: [
                ("detections a nucleus:", p.detections / p.nuclei, c.detections / c.nuclei),
                *_f1s(c, p),
            ],
        ),
        (
            "P helps most without the count loss (gain of F1@.5 without it; with it)",
            [plain, plain_p, count, count_p],
            lambda p, pp, c, cp: [
                (HOW[h], _f1(pp, h) - _f1(p, h), _f1(cp, h) - _f1(c, h)) for h in HOW
            ],
        ),
        (
            "Count loss with P has the best F1@.5 of ours (count loss with P; best other row)",
            [count_p, plain, plain_p, count],
            lambda best, *others: [
                (HOW[h], _f1(best, h), max(_f1(o, h) for o in others)) for h in HOW
            ],
        ),
        (
            "The fine grid has the higher mask IoU (grid 128; grid 32)",
            [plain, coarse[0], count, coarse[1]],
            lambda p, p32, c, c32: [
                ("without count loss:", _iou(p), _iou(p32)),
                ("with:", _iou(c), _iou(c32)),
            ],
        ),
        (
            "Mask R-CNN, fully supervised, has the best IoU and F1@.5 "
            "(Mask R-CNN; count loss with P)",
            [mask, count_p],
            lambda m, c: [("IoU:", _iou(m), _iou(c)), *_f1s(m, c)],
        ),
        (
            "DeepLabV3 has a higher IoU than canonical shape (DeepLabV3; count loss)",
            [deep, count],
            lambda d, c: [("", _iou(d), _iou(c))],
        ),
    ]


def _iou(result: Result) -> float:
    return result.scores["pixel_iou", "pooled"]


def _f1(result: Result, how: str) -> float:
    return result.scores["f1_50", how]


def _f1s(better: Result, worse: Result) -> Compared:
    return [(f"F1@.5 {title}:", _f1(better, how), _f1(worse, how)) for how, title in HOW.items()]


def write_csv(path: Path, results: Mapping[Setting, Result | None]) -> None:
    """Write a line for each row of Table 1 that was run."""
    columns = [f"{metric}_{how}" for how in HOW for metric in METRICS]
    head = ["approach", "experiment", "grid", "post_processing", "patches", "nuclei"]
    head += ["detections", "steps", "train_seconds", *columns, *(f"paper_{m}" for m in METRICS)]
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        for s, r in results.items():
            if r is not None:
                scores = [f"{r.scores[m, how]:.4f}" for how in HOW for m in METRICS]
                own = [r.patches, r.nuclei, r.detections, r.steps, r.seconds]
                table.writerow([s.approach, s.name, s.grid, s.post, *own, *scores, *s.paper])


LABELS = {
    "bbbc360_canonical_shape": ("canonical shape", "binary masks of all nuclei, and their number"),
    "bbbc360_25_pa": ("PA Mask R-CNN", "outlines of 25 % of the nuclei"),
    "bbbc360_25_baseline": ("Mask R-CNN", "outlines of 25 % of the nuclei"),
    "bbbc360_baseline": ("Mask R-CNN", "outlines of all nuclei"),
}


def weak_vs_partial(weak: Path, partial: Path) -> str:
    """Scores of models trained on different kinds of labels, on the same test images.

    Raises:
        UserError: If two runs were tested on different images.
    """
    head = ["model", "labels", "labelled nuclei", "seeds"]
    head += [f"{m}, {t}" for t in ("fixed 0.5", "calibrated") for m in ("mAP", "AJI")]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    images: set[str] = set()
    for name, (model, labels) in LABELS.items():
        files = sorted([*weak.glob(f"{name}.done"), *partial.glob(f"{name}:*.done")])
        runs = [Path(file.read_text().split()[-1]) for file in files]
        for run in runs:
            with (run / "per_image.csv").open(newline="") as file:
                own = {row["image"] for row in csv.DictReader(file)}
            if images and own != images:
                raise UserError(f"{run}: tested on other images than the rest; run it again")
            images = own
        found = [read_run(run).summary for run in runs]
        cells = [model, labels, "/".join(dict.fromkeys(str(s["labelled_nuclei"]) for s in found))]
        cells.append(str(len(found)))
        for part in ("test", "test_calibrated"):
            for metric in ("map", "aji"):
                values = [s[part][metric]["pooled"] for s in found]
                cells.append(str(over_seeds(values) or "-"))
        lines.append("| " + " | ".join(cells) + " |")
    return f"{len(images)} test images, pooled.\n\n" + "\n".join(lines) + "\n"


def main(runs: Path, partial: Path, target: Path) -> None:
    """Write `results.md`, `results.csv` and `weak_vs_partial.md`; print which patterns hold."""
    results = {setting: result_of(runs, setting) for setting in SETTINGS}
    patches = {r.patches for r in results.values() if r is not None}
    holds = patterns(results, runs)
    text = (
        f"Percent; {'/'.join(map(str, sorted(patches))) or 'no'} test patches of 128 px, score "
        "threshold 0.5. Columns in italics are the paper's (106 other test images, ResNet50, 50 "
        "epochs). Compare its F1 with ours per patch, its IoU and Dice with ours pooled. F1@.5 of "
        "DeepLabV3 is that of connected components. The seconds of training include one "
        "validation on 64 patches at the end.\n\n"
    )
    (target / "results.md").write_text(f"{text}{table1(results)}\n{holds}")
    write_csv(target / "results.csv", results)
    (target / "weak_vs_partial.md").write_text(weak_vs_partial(runs, partial))
    print(holds, end="")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
