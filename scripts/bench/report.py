"""The measurements as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scripts.bench.bookkeeping import STEPS
from scripts.bench.measure import LONG, Timing
from scripts.bench.nets import BASELINE, PA, STOCK
from scripts.bench.verdicts import faster, lighter

Row = dict[str, Any]
PAPER = {"training": 0.14, "inference": 0.69}
"""Overhead of PA over the baseline in IEEE Access 2019, on the authors' machine."""

HOW = f"""\
Seconds are medians (fastest to slowest) after a run to warm up, MB the peak of memory beyond \
libraries and net, "faster" and "less memory" ratios of torchvision to nucleist. Every case has a \
process of its own; those of one row take turns. A case of more than {LONG:g} s runs once. Order: \
bookkeeping, training, inference, metrics, loading."""
PLANTED = """\
No net was trained: in all of them jittered true boxes and random ones replaced the RPN's \
proposals, so that the sampled positives are as many as with a trained RPN; in evaluation the box \
classifier and the masks were replaced by true boxes and discs, and the centre head's scores are \
high at the true centres. All layers are run all the same."""
TRAINED = "The nets come from the checkpoints given; torchvision has the baseline's weights."
NETS = """\
Torchvision has the same layers and weights and its own memory format; nucleist's nets have \
channels last. Losses and label maps are compared with nucleist in torchvision's format."""


def markdown(result: Mapping[str, Any]) -> str:
    """All tables of parts that were measured."""
    header = result["header"]
    lines = ["# Benchmark", "", *(f"- {key}: {value}" for key, value in header.items()), "", HOW]
    lines += ["", TRAINED if header["checkpoints"] else PLANTED, "", NETS]
    tables = {
        "Bookkeeping of one training image": _bookkeeping,
        "Training step": _training,
        "Inference of one image to a label map": _inference,
        "PA over the baseline": _overhead,
        "Cost per nucleus": _per_nucleus,
        "Metrics of one image": _metrics,
        "Loading one image and its labels": _loading,
        "Targets": _targets,
    }
    keys = "bookkeeping training inference overhead per_nucleus metrics loading targets".split()
    for key, (title, table) in zip(keys, tables.items(), strict=True):
        if result.get(key):
            lines += ["", f"## {title}", "", *table(result[key])]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return lines + [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]


def _seconds(taken: Any) -> str:
    if not isinstance(taken, Timing):
        return str(taken)
    middle, low, high = (_short(x) for x in (taken.median_s, taken.min_s, taken.max_s))
    return middle if taken.runs == 1 else f"{middle} ({low} to {high})"


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _mb(taken: Any) -> str:
    return _short(taken.peak_mb) if isinstance(taken, Timing) else "-"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{_short(value)} x"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1%}"


def _bookkeeping(rows: Sequence[Row]) -> list[str]:
    head = "nuclei, step, torchvision s, MB, nucleist s, MB, faster, less memory".split(", ")
    body = []
    for row in rows:
        for step in STEPS:
            a, b = (row.get(f"{kind} steps", {}).get(step) for kind in (STOCK, BASELINE))
            cells = [_short(x and x[key]) for x in (a, b) for key in ("median_s", "peak_mb")]
            speed = a and b and a["median_s"] / b["median_s"]
            body.append([row["nuclei"], step, *cells, _times(speed), ""])
        both = (row[STOCK], row[BASELINE])
        cells = [text for taken in both for text in (_seconds(taken), _mb(taken))]
        body.append([row["nuclei"], "all", *cells, _times(faster(row)), _times(lighter(row))])
    return _table(head, body)


def _three(row: Row) -> list[str]:
    kinds = (STOCK, BASELINE, PA)
    seconds, peaks = [_seconds(row[k]) for k in kinds], [_mb(row[k]) for k in kinds]
    return [*seconds, _times(faster(row)), *peaks, _times(lighter(row))]


THREE = ["torchvision s", "nucleist s", "PA s", "faster"]
THREE += ["torchvision MB", "nucleist MB", "PA MB", "less memory"]


def _training(rows: Sequence[Row]) -> list[str]:
    head = ["px", "nuclei", "images", *THREE, "losses differ by", "found by PA"]
    body = []
    for row in rows:
        differ = row.get("loss_difference")
        last = ["-" if differ is None else f"{differ:.1e}", f"{row['found_boxes']:g}"]
        body.append([row["size"], f"{row['nuclei']:g}", row["batch"], *_three(row), *last])
    return [*_table(head, body), "", "Losses: absolute difference, relative where above 1."]


def _inference(rows: Sequence[Row]) -> list[str]:
    head = ["px", "nuclei", *THREE, "detections", "pixels differing"]
    body = []
    for row in rows:
        found = row["detections"]
        counts = " / ".join(str(found.get(kind, "-")) for kind in (STOCK, BASELINE, PA))
        last = [counts, row.get("pixels_differing", "-")]
        body.append([row["size"], row["nuclei"], *_three(row), *last])
    return _table(head, body)


def _overhead(rows: Sequence[Row]) -> list[str]:
    body = [
        [row["size"], f"{row['nuclei']:g}", *(_percent(row.get(part)) for part in PAPER)]
        for row in rows
    ]
    body.append(["the paper", "", *(_percent(share) for share in PAPER.values())])
    return _table(["px", "nuclei", *PAPER], body)


def _per_nucleus(rows: Sequence[Row]) -> list[str]:
    head = ["", "net", "px", "nuclei", "ms a nucleus", "ms for each one more"]
    body = []
    for row in rows:
        cells = [_short(row["each_ms"]), _short(row.get("added_ms"))]
        body.append([row["part"], row["kind"], row["size"], f"{row['nuclei']:g}", *cells])
    return _table(head, body)


def _metrics(rows: Sequence[Row]) -> list[str]:
    head = ["px", "nuclei", "metrics", "s", "MB", "to nucleist", "mAP"]
    body = []
    ours: Row = {}
    for row in rows:
        ours = row if row["nuclei"] != ours.get("nuclei") else ours  # nucleist's comes first
        ratio = faster({STOCK: row["taken"], BASELINE: ours["taken"]})
        value = "-" if row["map"] is None else f"{row['map']:.3f}"
        cells = [_seconds(row["taken"]), _mb(row["taken"]), _times(ratio), value]
        body.append([row["size"], row["nuclei"], row["tool"], *cells])
    return _table(head, body)


def _loading(rows: Sequence[Row]) -> list[str]:
    head = ["px", "nuclei", "way", "s", "kB of labels", "faster than PNGs"]
    body = []
    first: Row = {}
    for row in rows:
        first = row if row["size"] != first.get("size") else first
        ratio = faster({STOCK: first["taken"], BASELINE: row["taken"]})
        cells = [_seconds(row["taken"]), _short(row["kilobytes"]), _times(ratio)]
        body.append([row["size"], row["nuclei"], row["way"], *cells])
    return _table(head, body)


def _targets(rows: Sequence[Row]) -> list[str]:
    keys = ["work", "measured", "target", "verdict"]
    return _table(keys, ([row[key] for key in keys] for row in rows))
