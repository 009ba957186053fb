"""Frames a second of the page while panning and while an anchor is dragged, in headless Chromium.

    python experiments/annotate/frames.py OUTPUT.csv [COUNT ...]

Draws an image of 1000 x 1000 pixels (for more than 2,000 nuclei 2600 x 2600) with COUNT nuclei,
opens the page, pans for three seconds and drags an anchor for three, a mouse event each frame, and
takes the times between the frames that the browser draws, with WebGL and without.
"""

import csv
import os
import sys
import tempfile
import uuid
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support import browser

from nucleist.annotation.session import Session
from nucleist.annotation.things import Thing, outline
from nucleist.data.formats.images import write_image

SECONDS = 3
FLAGS = {"with WebGL (software)": ["--enable-unsafe-swiftshader"], "without": ["--disable-gpu"]}

MEASURE = """
async ([x, y, dx, dy, seconds]) => {
  const target = document.querySelector('#map .ol-viewport');
  const send = (kind, x, y) => (kind === 'pointerdown' ? target : document).dispatchEvent(
    new PointerEvent(kind, { bubbles: true, clientX: x, clientY: y, button: 0,
      buttons: 1, pointerId: 1, pointerType: 'mouse', isPrimary: true }));
  const frame = () => new Promise(requestAnimationFrame);
  send('pointerdown', x, y);
  const times = [];
  const start = performance.now();
  let last = await frame();
  while (performance.now() - start < seconds * 1000) {
    const phase = (performance.now() - start) / 1000;
    send('pointermove', x + dx * Math.sin(phase * 2), y + dy * Math.sin(phase * 3));
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  send('pointerup', x, y);
  return times;
}
"""


def folder_with(count: int, folder: Path) -> Path:
    """A folder with one image of so many nuclei on a jittered grid."""
    side = 1000 if count <= 2000 else 2600
    generator = np.random.default_rng(0)
    write_image(folder / "a", generator.integers(0, 60, (side, side, 3), dtype=np.uint8))
    rows = int(np.ceil(np.sqrt(count)))
    pitch = side / rows
    angles = np.arange(10) * 2 * np.pi / 10
    change = []
    with Session(folder) as session:
        for number in range(count):
            x, y = (np.array(divmod(number, rows)) + 0.5 + generator.uniform(-0.1, 0.1, 2)) * pitch
            radii = pitch * 0.4 * generator.uniform(0.85, 1.1, 10)
            points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], 1)
            own = str(uuid.UUID(int=number + 1))
            change.append((own, None, Thing(own, "nucleus", outline(points))))
        session.picture(0).put("import", change)
    return folder


def measure(count: int) -> list[dict]:
    """One row for each way to draw and each movement."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        server = browser.Served(folder_with(count, Path(place)))
        try:
            for way, flags in FLAGS.items():
                with browser.opened(server.address, flags=flags) as page:
                    rows += measured(page, count, way)
        finally:
            server.stop()
    return rows


def measured(page, count: int, way: str) -> list[dict]:
    assert page.evaluate("window.nucleist.viewer.things.size") == count
    page.wait_for_timeout(3000)  # the first work list, which the server computes
    center = page.evaluate("window.nucleist.viewer.map.getView().getCenter()")
    x, y = browser.place(page, center[0], -center[1])
    found = {"panning": page.evaluate(MEASURE, [x, y, 200, 150, SECONDS])}
    assert page.evaluate("window.nucleist.viewer.map.getView().getCenter()") != center
    page.click("#fit")
    page.evaluate(
        "() => { const v = window.nucleist.viewer;"
        " v.select([[...v.things.keys()][Math.floor(v.things.size / 2)]]);"
        " v.goto([...v.selected][0]); }"
    )
    page.wait_for_timeout(1000)
    anchor = page.evaluate("window.nucleist.viewer.anchors[0]")
    x, y = browser.place(page, *anchor)
    found["dragging an anchor"] = page.evaluate(MEASURE, [x, y, 30, 30, SECONDS])
    browser.settled(page)
    assert page.evaluate("window.nucleist.now.changes") == 1  # the anchor was moved
    return [row(count, way, what, times) for what, times in found.items()]


def row(count: int, way: str, what: str, times: list[float]) -> dict:
    middle, late = np.percentile(times, (50, 95))
    return {
        "nuclei": count,
        "drawn": way,
        "while": what,
        "frames": len(times),
        "median frames/s": round(float(1000 / middle), 1),
        "95 % of frames within ms": round(float(late), 1),
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
    }


def main(arguments: list[str]) -> None:
    counts = [int(word) for word in arguments[1:]] or [1500, 10_000]
    rows = [one for count in counts for one in measure(count)]
    with open(arguments[0], "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for one in rows:
        print(one)


if __name__ == "__main__":
    main(sys.argv[1:])
