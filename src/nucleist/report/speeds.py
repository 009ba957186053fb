"""Table 2 of the partial-annotation paper: parameters, seconds and memory of our models.

Feng et al., IEEE Access 2019, Table 2. What `nucleist report --measure` has measured side by side
comes first; without it there is what each run noted while it ran, which is said.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nucleist.report.grouping import DataSet, Model
from nucleist.report.published import figures_of, row_of
from nucleist.report.table import SPREAD, Column, Row, Table, Value, setting, spread
from nucleist.training.finished import Run, number

MEASURED = "speed.json"
"""Name of the file beside the report that holds what was measured."""

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
    "with care; nucleist report ... --measure measures all models in turn."
)
NONE = (
    "These runs have recorded no speed of their own (older ones did not); nucleist report ... "
    "--measure measures all models in turn."
)


def place_of(run: Run) -> str:
    """What names a run in `speed.json`, wherever its folder is seen from: experiment and folder."""
    return "/".join(run.folder.resolve().parts[-2:])


def measured_of(model: Model, measured: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured of a model, empty if nothing was."""
    return _entry(model, measured, "runs") or {}


def not_measured(sets: Sequence[DataSet], measured: Mapping[str, Any]) -> list[str]:
    """A line on each model that is not in what was measured, if anything was."""
    notes = []
    for model in (model for data in sets for model in data.models):
        if measured and not measured_of(model, measured):
            why = _entry(model, measured, "failed") or "it was not there then; add --measure"
            notes.append(f"{model.runs[0].folder}: speed not measured ({why})")
    return notes


def _entry(model: Model, measured: Mapping[str, Any], part: str) -> Any:
    entries = measured.get(part)
    known = entries if isinstance(entries, dict) else {}
    return next((known[p] for p in map(place_of, model.runs) if p in known), None)


def table2(data: DataSet, measured: Mapping[str, Any] | None = None) -> Table:
    """Parameters, seconds and memory of every model.

    Args:
        data: The models.
        measured: Content of `speed.json`; without one of these models it is not used.
    """
    known = measured or {}
    side_by_side = any(measured_of(model, known) for model in data.models)
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
    for model in data.models:
        own = _measured(model, known) if side_by_side else _of_runs(model)
        rows.append(Row((model.title, *own, *_printed(data, model)), model.key))
    notes = _side_by_side(data, known) if side_by_side else (_apart(data), SPREAD)
    return Table(
        f"table2_{data.key}",
        "Table 2. Size and speed",
        columns,
        tuple(rows),
        (*notes, f"{MEMORY} {PAPER}"),
    ).without_empty_columns()


def _apart(data: DataSet) -> str:
    some = any(_speed(run) for model in data.models for run in model.runs)
    return ALONE if some else NONE


def _side_by_side(data: DataSet, measured: Mapping[str, Any]) -> tuple[str, ...]:
    """How it was measured, in what order, and what else the machine did."""
    titles = {place_of(run): model.title for model in data.models for run in model.runs}
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


def _measured(model: Model, measured: Mapping[str, Any]) -> Iterator[Value]:
    found = measured_of(model, measured)
    count = number(found.get("parameters"))
    yield None if count is None else count / 1e6
    for name, _ in SPEED:
        values = (number(value) for value in found.get(name) or ())
        yield spread([value for value in values if value is not None], _digits(name))
    yield found.get("device")


def _of_runs(model: Model) -> Iterator[Value]:
    counts = [number(run.summary.get("parameters")) for run in model.runs]
    yield setting([count / 1e6 for count in counts if count is not None], 2)
    for name, _ in SPEED:
        yield _over(model, lambda run, name=name: number(_speed(run).get(name)), _digits(name))  # type: ignore[misc]
    yield _over(model, _whole_step, 3)
    yield _joined(str(_speed(run)["device"]) for run in model.runs if "device" in _speed(run))


def _printed(data: DataSet, model: Model) -> Iterator[Value]:
    row = row_of(model, data.source)
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


def _over(model: Model, read: Callable[[Run], float | None], digits: int) -> Value:
    found = [read(run) for run in model.runs]
    return spread([value for value in found if value is not None], digits)


def _joined(words: Iterator[str]) -> str | None:
    return " / ".join(dict.fromkeys(words)) or None
