"""Which runs a sweep consists of, and how much time and space they will take."""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nucleist.config.build import plain
from nucleist.config.compose import compose
from nucleist.config.grammar import expand
from nucleist.config.settings import quoted
from nucleist.files import text_hash
from nucleist.progress import duration
from nucleist.sweeps.costs import Cost, costs_of, kind_of, size
from nucleist.sweeps.request import Request
from nucleist.sweeps.sweep import DONE, FAILED, WAITING, Sweep, SweepRun
from nucleist.training.resume import mark_of, prepare
from nucleist.types import UserError

_WORDS = re.compile(r"(?P<key>[^=]+)=(?:steps/(?P<parts>[1-9]\d*)|attention_levels)")


@dataclass(frozen=True)
class Plan:
    """A sweep, and the time and space that it will take.

    Attributes:
        request: The settings.
        sweep: The sweep.
        kinds: The kind of each run, by number.
        costs: Time and size of the latest run of each kind.
    """

    request: Request
    sweep: Sweep
    kinds: dict[int, tuple[Any, ...]]
    costs: dict[tuple[Any, ...], Cost]

    def cost(self, run: SweepRun) -> Cost | None:
        """The cost of an earlier run of this kind, on the same data if possible; or None."""
        kind = self.kinds[run.number]
        return self.costs.get(kind) or self.costs.get(kind[:-1])

    def total(self, jobs: int) -> str:
        """Time and space for what is left, in words, with so many runs at a time."""
        left = [run for run in self.sweep.runs if run.status not in (DONE, FAILED)]
        if not left:
            return "nothing left to do"
        costs = [self.cost(run) for run in left]
        if None in costs:
            return "time unknown: no such net was trained yet"
        pairs = [(cost, run) for cost, run in zip(costs, left, strict=True) if cost is not None]
        each = [cost.seconds_per_step * run.steps for cost, run in pairs]
        seconds = max(sum(each) / jobs, *each)  # none takes less because others run too
        space = size(sum(cost.size for cost, _ in pairs))
        free = size(shutil.disk_usage(_existing(self.sweep.folder)).free)
        at_a_time = f" with jobs={jobs}" if jobs > 1 else ""
        return f"about {duration(seconds)}{at_a_time}, {space} of {free} free"

    def describe(self) -> str:
        """A table of the runs, with time and size where they are known."""
        sweep = self.sweep
        lines = [str(sweep.folder), "", f"{'run':>4}  {'status':<8} {'time':>10} {'size':>8}  what"]
        lines += [self._row(run) for run in sweep.runs]
        total = self.total(self.request.jobs(sweep))
        lines += ["", f"{len(sweep.runs)} runs, {sweep.count(DONE)} done; {total}"]
        lines += [
            f"{count} of them are finished in {folder}; folder={folder} goes on there"
            for folder, count in sweep.elsewhere().items()
        ]
        lines += [
            f"run {run.number} failed, will be tried again; see {sweep.log(run)}"
            for run in sweep.runs
            if run.failed and run.status == WAITING
        ]
        return "\n".join([*lines, *self.estimated_from()])

    def estimated_from(self) -> list[str]:
        """A line for each earlier run from which time and size are estimated."""
        left = [self.cost(run) for run in self.sweep.runs if run.status != DONE]
        return [f"estimated from {run}" for run in sorted({cost.run for cost in left if cost})]

    def _row(self, run: SweepRun) -> str:
        cost = self.cost(run)
        time = "unknown" if cost is None else duration(cost.seconds_per_step * run.steps)
        space = "unknown" if cost is None else size(cost.size)
        if run.status == DONE:
            time = space = ""
        what = " ".join([run.name, *run.changes])
        status = FAILED if run.failed and run.status == WAITING else run.status
        return f"{run.number:>4}  {status:<8} {time:>10} {space:>8}  {what}"


def _existing(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def plan(asked: Request) -> Plan:
    """The runs of a named sweep or of lists of values; settings come after those of the sweep.

    Args:
        asked: The settings.

    Raises:
        UserError: If one of the runs could not be composed, or would start processes itself.
    """
    settings, name = asked.settings, asked.names.get("sweep")
    if "search" in asked.names:
        raise UserError("search=NAME is not a sweep; use nucleist.plan_search")
    named: Any = plain(settings.get("sweep") or {})
    runs: list[SweepRun] = []
    kinds: dict[int, tuple[Any, ...]] = {}
    seen: set[str] = set()
    root = Path("runs")
    for variant, chosen in _combinations(named, asked.rest):
        config = compose("train", chosen)
        prepare(config)
        refuse_ddp(config)
        if (same := mark_of(config)) in seen:
            continue  # a variant that changes nothing here
        seen.add(same)
        if variant:
            config.name = f"{config.name}_{variant}"
            chosen = [*chosen, f"name={quoted(config.name)}"]
        number, steps, root = len(runs) + 1, int(config.trainer.max_steps), Path(config.runs)
        runs.append(SweepRun(number, chosen, [], config.name, mark_of(config), steps))
        kinds[number] = kind_of(config)
    _find_changes(runs)
    title = name or (runs[0].name if len({run.name for run in runs}) == 1 else "sweep")
    digits = text_hash("".join(sorted(run.mark for run in runs)))[:6]
    folder = Path(settings.folder or root / "sweeps" / f"{title}-{digits}")
    sweep = Sweep(folder, title, asked.command, runs)
    sweep.refresh()
    return Plan(asked, sweep, kinds, costs_of(root))


def _combinations(
    named: dict[str, Any], overrides: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    variants = named.get("variants") or {"": []}
    for variant, own in variants.items():
        for chosen in expand([*named.get("grid", []), *own, *overrides]):
            yield variant, _worked_out(chosen)


def _worked_out(chosen: list[str]) -> list[str]:
    """Overrides with the values that `steps/10` and `attention_levels` have with the others."""
    words = {part: found for part in chosen if (found := _WORDS.fullmatch(part))}
    if not words:
        return chosen
    config = compose("train", [part for part in chosen if part not in words])
    return [_resolved(words[part], config) if part in words else part for part in chosen]


def _resolved(found: re.Match[str], config: DictConfig) -> str:
    if found["parts"]:
        return f"{found['key']}={max(1, int(config.steps) // int(found['parts']))}"
    levels = config.get("attention_levels")
    if levels is None:
        raise UserError("the preset names no attention_levels; use preset=compact or another")
    return f"{found['key']}=[{','.join(levels)}]"


def refuse_ddp(config: DictConfig) -> None:
    """Raise a `UserError` if a run would start processes of its own on more devices."""
    strategy = str(config.trainer.get("strategy", "auto"))
    if strategy.startswith(("ddp", "fsdp", "deepspeed")) or config.trainer.devices not in (1, "1"):
        raise UserError(
            f"a sweep gives each run one device, but trainer.devices={config.trainer.devices} with "
            f"strategy={strategy} takes more; use trainer=auto jobs=N, or train without -m"
        )


def _find_changes(runs: Sequence[SweepRun]) -> None:
    """Fill in which overrides differ between the runs."""
    values: dict[str, set[str | None]] = {}
    tables = [dict(part.split("=", 1) for part in run.overrides if "=" in part) for run in runs]
    for key in {key for table in tables for key in table} - {"name"}:
        values[key] = {table.get(key) for table in tables}
    for run, table in zip(runs, tables, strict=True):
        run.changes = [f"{k}={v}" for k, v in table.items() if len(values.get(k, ())) > 1]
