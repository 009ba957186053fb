"""kill -9 after each of N random edits: is an edit lost that was acknowledged?

    python experiments/annotate/killed.py [N]

A child process edits a picture and says after each edit what it was told. It is killed at a random
moment after some edits, the picture is opened anew, and a new child goes on with it.
"""

import os
import random
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.annotations import SIZE, random_command

from nucleist.annotation.picture import Picture
from nucleist.types import UserError


def opened(folder: Path) -> Picture:
    return Picture(folder / "a.geojson", folder / "a.jsonl", folder / "old", SIZE, "f00")


def edit(folder: Path, seed: int, out: int) -> None:
    """Edit until killed; now and then the file beside the image is written too."""
    picture, chance = opened(folder), random.Random(seed)
    while True:
        command = random_command(picture.things, chance)
        if command["do"] == "add":
            del command["id"]
        try:
            answer = picture.apply(command)
        except UserError:
            continue
        if answer.saved and answer.change:
            os.write(out, f"{answer.revision} {len(picture.things)}\n".encode())
        if chance.random() < 0.2:
            picture.compact()


def killed_once(folder: Path, seed: int) -> tuple[int, int]:
    """Kill a child after an acknowledged edit; returns the last one that it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        edit(folder, seed, writing)
    os.close(writing)
    with os.fdopen(reading) as lines:
        last = lines.readline()
        os.kill(child, signal.SIGKILL)
        rest = lines.read().splitlines(keepends=True)
    os.waitpid(child, 0)
    whole = [line for line in rest if line.endswith("\n")]
    revision, count = map(int, (whole[-1] if whole else last).split())
    return revision, count


def main(kills: int) -> int:
    lost = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for seed in range(kills):
            revision, count = killed_once(folder, seed)
            found = opened(folder)
            fits = found.revision > revision or len(found.things) == count
            lost += found.revision < revision or not fits
    print(f"{kills} kills, {found.revision} edits, {lost} lost")
    return lost


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
