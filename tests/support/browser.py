"""The page of `nucleist annotate` in a headless Chromium, with a real server behind it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from nucleist.data.readers.synthetic import Synthetic

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
"""Debian's; Playwright downloads none."""


SOURCE = Synthetic(n_train=3, n_test=0, count=(14, 14), artefacts=(0, 0))


def drawn_images(folder: Path) -> Path:
    """A folder of drawn fluorescence images, 16 bits, with the labels left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(SOURCE.splits()["train"], 1):
        pixels = SOURCE.read(name).image[..., 0].astype(np.uint16) * 16
        Image.fromarray(pixels).save(folder / f"cells_{number}.png")
    return folder


class Served:
    """A server process for a folder; it can be killed and started again."""

    def __init__(self, folder: Path, *words: str):
        self.folder, self.words = folder, words
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "nucleist", "annotate", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, "browser=false", *self.words],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        for line in self.process.stderr:
            if found := re.search(r"http://127.0.0.1:\d+/\?token=\w+", line):
                self.address = found[0]
                return
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
        self.process.stderr.close()


@contextmanager
def opened(address: str, **options):
    """A page in a new browser."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", *options.pop("flags", ())]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        context = browser.new_context(viewport={"width": 1200, "height": 760}, **options)
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.errors = errors
        goto(page, address)
        yield page
        browser.close()


def goto(page, address: str) -> None:
    page.goto(address)
    ready(page)


def ready(page) -> None:
    until(page, "window.nucleist?.ready === true")
    page.wait_for_timeout(300)  # tiles


def until(page, condition: str, seconds: float = 20) -> None:
    """Wait for a condition. Playwright's own waiting needs eval, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, (condition, getattr(page, "errors", [])[-3:])
        page.wait_for_timeout(50)


def place(page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the image is on the screen."""
    box = page.locator("#map").bounding_box()
    dx, dy = page.evaluate("p => window.nucleist.onScreen(p)", [x, y])
    return box["x"] + dx, box["y"] + dy


def click(page, x: float, y: float, **options) -> None:
    modifiers = options.pop("modifiers", [])
    for key in modifiers:
        page.keyboard.down(key)
    page.mouse.click(*place(page, x, y), **options)
    for key in modifiers:
        page.keyboard.up(key)


def drag(page, start, stop, steps: int = 6) -> None:
    page.mouse.move(*place(page, *start))
    page.mouse.down()
    page.mouse.move(*place(page, *stop), steps=steps)
    page.mouse.up()


def settled(page) -> None:
    """Every command has its answer."""
    until(page, "!window.nucleist.queue.waiting.length && !window.nucleist.queue.busy")


def things(page) -> list[dict]:
    return page.evaluate("[...window.nucleist.viewer.things.values()]")
