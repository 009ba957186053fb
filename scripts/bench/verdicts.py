"""Ratios of the measurements, overhead of PA, cost per nucleus, and whether goals are met."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from scripts.bench.measure import Timing
from scripts.bench.nets import BASELINE, PA, STOCK
from scripts.bench.scores import DEFAULT, NUCLEIST

Row = dict[str, Any]
Result = Mapping[str, Sequence[Row]]
SIZE, FEW, MANY = 1000, 100, 1000
"""Pixels and numbers of nuclei of the goals."""


def faster(row: Row, ours: str = BASELINE, theirs: str = STOCK) -> float | None:
    """Seconds of `theirs` over seconds of `ours`; None if one was not measured."""
    a, b = row.get(theirs), row.get(ours)
    if not (isinstance(a, Timing) and isinstance(b, Timing)):
        return None
    return a.median_s / b.median_s


def lighter(row: Row, ours: str = BASELINE, theirs: str = STOCK) -> float | None:
    """Peak memory of `theirs` over that of `ours`; None if one was not measured."""
    a, b = row.get(theirs), row.get(ours)
    if not (isinstance(a, Timing) and isinstance(b, Timing)):
        return None
    return a.peak_mb / max(b.peak_mb, 0.1)


def overhead(result: Result) -> list[Row]:
    """Additional time of PA as a share of the baseline's, by size and number of nuclei."""
    rows: dict[tuple[float, float], Row] = {}
    for part in ("training", "inference"):
        for row in result.get(part, []):
            ratio = faster(row, BASELINE, PA)
            cell = row["size"], row["nuclei"]
            if ratio is not None:
                rows.setdefault(cell, {"size": cell[0], "nuclei": cell[1]})[part] = ratio - 1
    return list(rows.values())


def per_nucleus(result: Result) -> list[Row]:
    """Milliseconds for each nucleus in images of the largest size.

    `each_ms` is the whole time over the number of nuclei, `added_ms` the time for each nucleus
    more than in the row before.
    """
    rows = []
    for part in ("training", "inference"):
        for kind in (BASELINE, PA):
            before: tuple[float, float] | None = None
            largest = max((row["size"] for row in result.get(part, [])), default=0)
            for row in result.get(part, []):
                timing, nuclei = row[kind], row["nuclei"]
                if row["size"] != largest or nuclei < 1 or not isinstance(timing, Timing):
                    continue
                total = 1000 * timing.median_s / row.get("batch", 1)
                new: Row = {"part": part, "kind": kind, "size": largest, "nuclei": nuclei}
                new["each_ms"] = total / nuclei
                if before is not None and nuclei > before[0]:
                    new["added_ms"] = (total - before[1]) / (nuclei - before[0])
                rows.append(new)
                before = nuclei, total
    return rows


def targets(result: Result) -> list[Row]:
    """Each goal, the measured value, and whether the goal is met."""
    book, train, test = (_dense(result, p) for p in ("bookkeeping", "training", "inference"))
    rows = [
        _at_least("bookkeeping of 1000 nuclei: faster", faster, book, 100),
        _at_least("bookkeeping of 1000 nuclei: less memory", lighter, book, 50),
        _at_least("training step, 1000 nuclei: faster", faster, train, 1.8),
        _at_least("training step, 1000 nuclei: less memory", lighter, train, 4),
        _at_least("inference, 1000 nuclei: faster", faster, test, 2),
        _at_least("inference, 1000 nuclei: less memory", lighter, test, 3),
    ]
    for part in ("training", "inference"):
        shares = [row[part] for row in overhead(result) if part in row]
        worst = max(shares, default=None)
        rows.append(_at_most(f"PA over baseline, {part}, worst row", worst, "+5 %", 0.05))
    rows.append(_metrics(result.get("metrics", [])))
    rows += [_flat(result, part) for part in ("training", "inference")]
    for part, key, work, target, most, form in (
        ("training", "loss_difference", "losses, largest difference", "1e-5", 1e-5, "{:.1e}"),
        ("inference", "pixels_differing", "label maps, pixels that differ", "0", 0, "{:d}"),
    ):
        largest = max((row[key] for row in result.get(part, []) if key in row), default=None)
        rows.append(_at_most(work, largest, target, most, form))
    return rows


def _dense(result: Result, part: str) -> Row | None:
    rows = result.get(part, [])
    return next((r for r in rows if r["size"] == SIZE and r["nuclei"] == MANY), None)


def _verdict(work: str, measured: str | None, target: str, met: bool) -> Row:
    verdict = "not measured" if measured is None else "met" if met else "missed"
    return {"work": work, "measured": measured or "-", "target": target, "verdict": verdict}


def _at_least(
    work: str, ratio: Callable[[Row], float | None], row: Row | None, wanted: float
) -> Row:
    value = ratio(row) if row else None
    target = f"at least {wanted:g} x"
    if row and value is None:
        return {**_verdict(work, None, target, False), "measured": f"{STOCK}: {row[STOCK]}"}
    if value is None:
        return _verdict(work, None, target, False)
    return _verdict(work, f"{value:.3g} x", target, value >= wanted)


def _at_most(
    work: str, value: float | None, target: str, most: float, form: str = "{:+.1%}"
) -> Row:
    if value is None:
        return _verdict(work, None, f"at most {target}", False)
    return _verdict(work, form.format(value), f"at most {target}", value <= most + 1e-9)


def _metrics(rows: Sequence[Row]) -> Row:
    by_tool = {row["tool"]: row["taken"] for row in rows if row["nuclei"] == MANY}
    row = {STOCK: by_tool[DEFAULT], BASELINE: by_tool[NUCLEIST]} if by_tool else None
    work = "all metrics of 1000 nuclei against torchmetrics' segm mAP: faster"
    return _at_least(work, faster, row, 150)


def _flat(result: Result, part: str) -> Row:
    """Whether the cost per nucleus does not rise from 100 nuclei on; 5 % count as noise."""
    rows = [r for r in per_nucleus(result) if r["part"] == part and r["kind"] == BASELINE]
    each = {r["nuclei"]: r["each_ms"] for r in rows if r["nuclei"] >= FEW and r["size"] == SIZE}
    flat = all(after <= 1.05 * before for before, after in pairwise(each.values()))
    shown = ", ".join(f"{value:.3g}" for value in each.values())
    measured = shown if {FEW, MANY} <= each.keys() else None
    work = f"{part}, ms per nucleus from 100 to 1000"
    return _verdict(work, measured, "flat or falling", flat)
