"""The loop without a page: import corrections, train, propose, export, until it is good enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleist.annotation.fiji import corrections, write_zip
from nucleist.annotation.rounds import Rounds
from nucleist.annotation.session import Session
from nucleist.files import make_folder, read_json_if_there, write_json
from nucleist.progress import shown
from nucleist.types import Progress, UserError

EXPORTED = "exported.json"
"""In the folder of exports: the size and time of each file when it was written, and the score."""


@dataclass(frozen=True)
class Bootstrapped:
    """What a bootstrap has come to.

    Attributes:
        rounds: Number of trainings so far, of this and earlier calls.
        labelled: Number of nuclei that are outlined.
        proposed: Number of proposals that wait.
        coverage: Share of the nuclei that are decided: labelled of labelled and proposed, in
            [0, 1].
        score: Of the last round, in [0, 1]: the share of the held-out outlines that it found at
            half overlap, or mAP where there are held-out images; None if it is not known.
        imported: Number of corrections that were imported.
        output: Folder of the exports.
    """

    rounds: int
    labelled: int
    proposed: int
    coverage: float
    score: float | None
    imported: int
    output: Path


def bootstrap(
    folder: str | Path,
    output: str | Path,
    rounds: int = 1,
    *,
    accept: float | None = None,
    least: float = 0.5,
    coverage: float = 1.0,
    score: float = 1.0,
    anew: bool = False,
    overrides: Sequence[str] = (),
    channel: Any | None = None,
    z: Any | None = None,
    wait: Callable[[Path], bool] | None = None,
    progress: bool | Progress = False,
) -> Bootstrapped:
    """Train on what is labelled in a folder, propose nuclei, and export them for correction.

    Args:
        folder: The images and their labels.
        output: Gets `NAME.zip` for Fiji; a zip that was saved again since is imported first. QuPath
            opens, and saves again, the `NAME.nucleist.geojson` beside the image.
        rounds: Trainings in this call.
        accept: After each round but the last, proposals of at least this score are accepted,
            in [0, 1]; None accepts none.
        least: Lowest score of a proposal that is exported, in [0, 1].
        coverage: Stop where this share of the nuclei is decided and `score` is reached.
        score: Likewise, see `Bootstrapped.score`.
        anew: Do not begin with the weights of the last round.
        overrides: Settings of `nucleist train`.
        channel: Which channel shows the nuclei, see `nucleist.data.Folder`.
        z: Which plane, likewise.
        wait: Called between two rounds with the folder of exports, while a person corrects them;
            it returns whether to go on.
        progress: True prints lines to stderr; or an object that shows them otherwise.

    Returns:
        What it has come to.

    Raises:
        UserError: If nothing is labelled, a training fails, or a file is damaged.
    """
    watcher, place = shown(progress), Path(output).expanduser()
    imported, number = 0, 0
    with Session(folder, channel, z) as session:
        loop = Rounds(session)
        for number in range(1, rounds + 1):
            imported += import_corrections(session, place)
            told = _told(session, loop, place, imported)
            if loop.number and _is_enough(told, coverage, score):
                watcher.note("coverage and score are what was asked for; no more training")
                break
            _train(loop, overrides, anew and number == 1, watcher)
            export(session, place, least)
            told = _told(session, loop, place, imported)
            mean = "unknown" if told.score is None else f"{told.score:.3f}"
            found = f"{told.labelled} labelled, {told.proposed} proposed"
            watcher.note(f"round {told.rounds}: {found}, score on held-out labels {mean}")
            if number < rounds:
                _accept(session, accept)
                if wait is not None and not wait(place):
                    break
        session.compact()
        return _told(session, loop, place, imported)


def export(session: Session, place: Path, least: float) -> None:
    """Write a zip for Fiji of every image that has nuclei, and the files beside the images.

    Raises:
        UserError: If a file cannot be written.
    """
    make_folder(place)
    record: dict[str, Any] = {"least": least, "files": {}}
    for index, entry in enumerate(session.entries()):
        if entry.labelled or entry.proposed:
            path = place / f"{entry.name}.zip"
            write_zip(session.picture(index), path, least)
            record["files"][entry.name] = _mark(path)
    if failed := session.compact():
        raise UserError(failed[0])
    write_json(place / EXPORTED, record)


def import_corrections(session: Session, place: Path) -> int:
    """Take over zips and files beside images that were saved again since they were written.

    Returns:
        Number of nuclei that they change.
    """
    count = session.absorb()
    record = read_json_if_there(place / EXPORTED)
    for index, pair in enumerate(session.pairs):
        path = place / f"{pair.id}.zip"
        mark = record.get("files", {}).get(pair.id)
        if mark is None or not path.exists() or _mark(path) == mark:
            continue
        picture = session.picture(index)
        change = corrections(picture, path, record["least"])
        picture.put("import", change, session.who)
        record["files"][pair.id] = _mark(path)
        count += len(change)
    if record:
        write_json(place / EXPORTED, record)
    return count


def _mark(path: Path) -> list[float]:
    found = path.stat()
    return [found.st_size, found.st_mtime]


def _train(loop: Rounds, overrides: Sequence[str], anew: bool, watcher: Progress) -> None:
    loop.start(overrides, anew)
    line = ""
    try:
        while loop.is_running():
            told = str(loop.status().get("line", ""))
            if told != line:
                watcher.note(told)
            line = told
            time.sleep(0.2)
    except BaseException:
        loop.cancel()
        raise
    status = loop.status()
    if loop.collect() is None:
        raise UserError(f"round {status['number']}: {status.get('error') or status['phase']}")


def _accept(session: Session, score: float | None) -> None:
    for index, entry in enumerate(session.entries()):
        if score is not None and entry.proposed:
            session.apply(index, {"do": "accept_above", "score": score})


def _told(session: Session, loop: Rounds, place: Path, imported: int) -> Bootstrapped:
    entries = session.entries()
    labelled = sum(entry.labelled for entry in entries)
    proposed = sum(entry.proposed for entry in entries)
    status = loop.status()
    covered = labelled / max(labelled + proposed, 1)
    return Bootstrapped(
        status["number"], labelled, proposed, covered, status.get("score"), imported, place
    )


def _is_enough(told: Bootstrapped, coverage: float, score: float) -> bool:
    return told.coverage >= coverage and told.score is not None and told.score >= score
