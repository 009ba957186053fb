"""One cell: an annotator at work in a session, everything that it does written down."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bootstrapping.annotator import RULES, command, drawn, listed, plan
from experiments.bootstrapping.cells import IMAGES, ITEMS, SCORE, STEPS, Cell
from experiments.bootstrapping.finish import charge, finishes
from experiments.bootstrapping.images import prepared
from experiments.bootstrapping.prices import DRAWING, Fix, by_hand
from experiments.bootstrapping.quality import Found, added, found_in
from experiments.bootstrapping.truth import ROUGH, Truth
from nucleist.annotation.rounds import Rounds
from nucleist.annotation.session import Session
from nucleist.types import UserError


class Simulation:
    """A simulated annotator in a session.

    Args:
        session: Of the images.
        truths: By name of the image.
        cell: What is simulated.
    """

    def __init__(self, session: Session, truths: dict[str, Truth], cell: Cell):
        self.session, self.cell, self.rules = session, cell, RULES[cell.rules]
        self.truths = [truths[pair.id] for pair in session.pairs]
        self.spent: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.curve: list[dict[str, Any]] = []
        self._found = [Found(len(truth.nuclei), 0, 0, 0.0) for truth in self.truths]

    def do(self, index: int, fixes: Sequence[Fix]) -> None:
        """Fix an image, count the actions, and note what has come of it."""
        truth = self.truths[index]
        for fix in fixes:
            self.session.apply(index, command(fix, self.session.pairs[index].id))
            self.done[fix.kind] += 1
            for count in DRAWING:
                self.spent[count] += charge(count, fix, truth, self.rules)
        self._found[index] = found_in(self.session.picture(index).things, truth, None)
        self.curve.append({**self.spent, **added(self._found)})

    def draw(self) -> None:
        """The first outlines, chosen at random."""
        for index, truth in enumerate(self.truths):
            draw = np.random.default_rng([self.cell.seed, index])
            numbers = draw.permutation(sorted(truth.nuclei))[: self.cell.outlines]
            self.do(index, [drawn(truth.nuclei[int(number)]) for number in numbers])

    def between(self, number: int, threshold: float) -> None:
        """What the policy fixes after a round that is not the last."""
        for index in range(len(self.truths)):
            if self.cell.policy == "images":
                if index % self.cell.rounds == number - 1:
                    self.finish(index, threshold)
                continue
            if self.cell.policy == "accept":
                self.do(index, [Fix("accept_above", score=SCORE)])
            things = self.session.picture(index).things
            self.do(index, listed(things, self.truths[index], threshold, ITEMS))

    def finish(self, index: int, threshold: float) -> None:
        """All that an image needs, and the word that it is complete."""
        picture = self.session.picture(index)
        if picture.state == "complete":
            return
        fixes = plan(picture.things, self.truths[index], threshold, self.rules)
        self.do(index, [*fixes, Fix("whole")])

    def finish_all(self, threshold: float) -> None:
        """First what is proposed in all images, then what is missing in all, then all complete."""
        pictures = [self.session.picture(i) for i in range(len(self.truths))]
        plans = [
            [] if p.state == "complete" else plan(p.things, t, threshold, self.rules)
            for p, t in zip(pictures, self.truths, strict=True)
        ]
        for missing in (False, True):
            for index, fixes in enumerate(plans):
                self.do(index, [fix for fix in fixes if (fix.kind == "add") == missing])
        for index, picture in enumerate(pictures):
            if picture.state != "complete":
                self.do(index, [Fix("whole")])

    def state(self, threshold: float) -> dict[str, Any]:
        """Quality of what is labelled, of that with all that is shown, and what is left to do."""
        pictures = [self.session.picture(i) for i in range(len(self.truths))]
        both = list(zip(pictures, self.truths, strict=True))
        seen = [found_in(p.things, t, threshold) for p, t in both]
        return {
            "threshold": threshold,
            "labelled": sum(one.labelled for one in self.session.entries()),
            "spent": dict(self.spent),
            "done": dict(self.done),
            "annotation": added(self._found),
            "unseen": added(seen),
            "finish": finishes([(p.things, t, p.state == "complete") for p, t in both], threshold),
        }


def propose(rounds: Rounds, cell: Cell, number: int, store: Path, words: Sequence[str]) -> float:
    """One round: trained, or proposed by the training that was kept; the score threshold."""
    kept, before = store / cell.training(number), store / cell.training(number - 1)
    if not cell.outlines:
        rounds.propose_with("nuclei")
    elif kept.exists():
        rounds.propose_with(kept)
    else:
        weights = [f"weights={before.resolve()}/checkpoints/last.ckpt"] if number > 1 else []
        steps = [f"steps={STEPS[number - 1]}", f"val_every={STEPS[number - 1]}"]
        common = ["trainer=cpu", "data.workers=0", f"seed={cell.seed}"]
        rounds.start([*common, *steps, *words, *weights])
    while rounds.is_running():
        time.sleep(0.5)
    status = rounds.status()
    if rounds.collect() is None:
        raise UserError(f"{cell.name}: round {number}: {status.get('error') or status['phase']}")
    if cell.outlines and not kept.exists():
        part = kept.with_name(kept.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(status["run"], part)
        part.rename(kept)
    return float(status["threshold"])


def simulate(
    cell: Cell,
    work: Path,
    store: Path,
    so_far: Callable[[dict[str, Any]], None],
    images: int = IMAGES,
    words: Sequence[str] = (),
) -> dict[str, Any]:
    """Simulate a cell.

    Args:
        cell: Which.
        work: Its folder of images; it is made anew.
        store: Folder of trainings that are finished, kept for the next start.
        so_far: Gets what is known after each round.
        images: Fewer images, to try it.
        words: Further settings of the training.

    Returns:
        What a file of results holds.
    """
    began = time.monotonic()
    truths = prepared(cell.group, work, images)
    found = about(cell, truths)
    with Session(work, who="simulated") as session:
        simulation, rounds = Simulation(session, truths, cell), Rounds(session)
        simulation.draw()
        for number in range(1, cell.rounds + 1):
            threshold = propose(rounds, cell, number, store, words)
            found["rounds"].append(simulation.state(threshold))
            found["curve"] = simulation.curve
            so_far(found)
            if number < cell.rounds:
                simulation.between(number, threshold)
        simulation.finish_all(threshold)
    end = {**simulation.curve[-1], "done": dict(simulation.done)}
    return {**found, "seconds": round(time.monotonic() - began), "end": end}


def about(cell: Cell, truths: Mapping[str, Truth]) -> dict[str, Any]:
    """What is known of a cell before its first round."""
    nuclei = [one for truth in truths.values() for one in truth.nuclei.values()]
    return {
        "cell": cell._asdict(),
        "images": len(truths),
        "nuclei": len(nuclei),
        "ellipses": sum(one.ellipse >= ROUGH for one in nuclei),
        "by_hand": {count: by_hand(count, nuclei) for count in DRAWING},
        "rounds": [],
    }
