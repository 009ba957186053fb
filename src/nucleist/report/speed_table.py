"""Table 2 of the partial-annotation paper: parameters, seconds and memory of our models.

Feng et al., IEEE Access 2019, Table 2. Its figures are those that `nucleist report measure=true`
has measured side by side; without them those that each run recorded while it ran, with a note.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nucleist.report.grouping import Benchmark, RunGroup
from nucleist.report.published import figures_of, row_of
from nucleist.report.table import SPREAD, Column, Row, Table, Value, over_seeds, setting_over_seeds
from nucleist.training.finished import Run, number
from nucleist.types import UserError

MEASURED = "speed.json"
"""Name of the file with the measurements, in the folder of the report."""

SPEED = (
    ("seconds_per_step", "s a step"),
    ("seconds_per_image", "s an image"),
    ("peak_memory_mb", "peak memory, MB"),
)
PAPER_SPEED = (("parameters_millions", "parameters, millions"), *SPEED)
MEMORY = "Memory is what the GPU allocated, or the resident set of the process on a CPU."
PAPER = "The paper's: four V100, 8 images a step."
ALONE = (
    "Measured in each run, not side by side: other work may have shared the machine, so compare "
    "with care; nucleist report ... measure=true measures all models in turn."
)
NONE = (
    "These runs recorded no speed (runs of older versions did not); nucleist report ... "
    "measure=true measures all models in turn."
)


@dataclass(frozen=True)
class Amount:
    """How much is measured of each model.

    Args:
        steps: Training steps that are timed, after one that is not.
        images: Test images that are timed, after one that is not.
        rounds: Times that all models are measured, in the same order.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Raises:
        UserError: If a number is below 1.
    """

    steps: int = 5
    images: int = 5
    rounds: int = 2
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, value in self.settings().items():
            if name != "device" and (not isinstance(value, int) or value < 1):
                raise UserError(f"{name}={value}: write a whole number from 1")

    def settings(self) -> dict[str, Any]:
        """The values by name."""
        return asdict(self)


def place_of(run: Run) -> str:
    """The name of a run in `speed.json`: its folder's and that of the folder above.

    It is the same whatever relative path leads to the run.
    """
    return "/".join(run.folder.resolve().parts[-2:])


def measured_of(group: RunGroup, measured: Mapping[str, Any]) -> dict[str, Any]:
    """The measurements of a model in `speed.json`; empty if there are none."""
    return _entry(group, measured, "runs") or {}


def not_measured(benchmarks: Sequence[Benchmark], measured: Mapping[str, Any]) -> list[str]:
    """A line on each model without measurements, if `speed.json` has any."""
    notes = []
    for group in (group for benchmark in benchmarks for group in benchmark.groups):
        if measured and not measured_of(group, measured):
            why = _entry(group, measured, "failed") or "it was added later; add measure=true"
            notes.append(f"{group.runs[0].folder}: speed not measured ({why})")
    return notes


def _entry(group: RunGroup, measured: Mapping[str, Any], part: str) -> Any:
    entries = measured.get(part)
    known = entries if isinstance(entries, dict) else {}
    return next((known[p] for p in map(place_of, group.runs) if p in known), None)


def table2(benchmark: Benchmark, measured: Mapping[str, Any] | None = None) -> Table:
    """Parameters, seconds and memory of every model.

    Args:
        benchmark: The models.
        measured: Content of `speed.json`; not used if it has none of these models.
    """
    known = measured or {}
    side_by_side = any(measured_of(group, known) for group in benchmark.groups)
    whole = [] if side_by_side else [Column("seconds_per_step_all", "s a step with validation")]
    columns = (
        Column("model", "model"),
        Column("parameters_millions", "parameters, millions", digits=2),
        *(Column(name, title) for name, title in SPEED),
        *whole,
        Column("device", "device", folds=True),
        Column("row", "row", True),
        *(Column(name, title, True, _digits(name)) for name, title in PAPER_SPEED),
    )
    rows = []
    for group in benchmark.groups:
        own = _measured(group, known) if side_by_side else _of_runs(group)
        rows.append(Row((group.title, *own, *_printed(benchmark, group)), group.key))
    notes = _side_by_side(benchmark, known) if side_by_side else (_apart(benchmark), SPREAD)
    return Table(
        f"table2_{benchmark.key}",
        "Table 2. Size and speed",
        columns,
        tuple(rows),
        (*notes, f"{MEMORY} {PAPER}"),
    ).without_empty_columns()


def _apart(benchmark: Benchmark) -> str:
    some = any(_speed(run) for group in benchmark.groups for run in group.runs)
    return ALONE if some else NONE


def _side_by_side(benchmark: Benchmark, measured: Mapping[str, Any]) -> tuple[str, ...]:
    """How it was measured, in which order, and how busy the machine was."""
    titles = {place_of(run): group.title for group in benchmark.groups for run in group.runs}
    order = " → ".join(titles.get(place, place) for place in measured.get("order", ()))
    device, load = str(measured.get("device")), measured.get("load")
    threads = "" if "threads" in device else f", {measured.get('threads')} threads"
    busy = "" if load is None else f" Load of the machine before the start: {load}."
    return (
        f"Measured side by side by: {measured.get('command')}. A process for each model, one after "
        f"the other, {measured.get('rounds')} times in this order: {order}. Device: "
        f"{device}{threads}.{busy}",
        f"Median of {measured.get('steps')} training steps (with loading and augmentation, without "
        f"validation) and of {measured.get('images')} test images, from the last checkpoint, after "
        "one of each that does not count. Mean over the repeats ± half the range.",
    )


def _measured(group: RunGroup, measured: Mapping[str, Any]) -> Iterator[Value]:
    found = measured_of(group, measured)
    count = number(found.get("parameters"))
    yield None if count is None else count / 1e6
    for name, _ in SPEED:
        values = (number(value) for value in found.get(name) or ())
        yield over_seeds([value for value in values if value is not None], _digits(name))
    yield found.get("device")


def _of_runs(group: RunGroup) -> Iterator[Value]:
    counts = [number(run.summary.get("parameters")) for run in group.runs]
    yield setting_over_seeds([count / 1e6 for count in counts if count is not None], 2)
    for name, _ in SPEED:
        yield _over(group, lambda run, name=name: number(_speed(run).get(name)), _digits(name))  # type: ignore[misc]
    yield _over(group, _whole_step, 3)
    yield _joined(str(_speed(run)["device"]) for run in group.runs if "device" in _speed(run))


def _printed(benchmark: Benchmark, group: RunGroup) -> Iterator[Value]:
    row = row_of(group, benchmark.source)
    figures = figures_of("table2", row)
    yield row if figures else None
    for name, _ in PAPER_SPEED:
        yield figures.get(name)


def _speed(run: Run) -> dict[str, object]:
    found = run.summary.get("speed")
    return found if isinstance(found, dict) else {}


def _whole_step(run: Run) -> float | None:
    seconds, steps = number(run.summary.get("train_seconds")), number(run.summary.get("steps"))
    return seconds / steps if seconds is not None and steps else None


def _digits(name: str) -> int:
    return 0 if name.endswith("_mb") else 3 if "second" in name else 1


def _over(group: RunGroup, read: Callable[[Run], float | None], digits: int) -> Value:
    found = [read(run) for run in group.runs]
    return over_seeds([value for value in found if value is not None], digits)


def _joined(words: Iterator[str]) -> str | None:
    return " / ".join(dict.fromkeys(words)) or None
