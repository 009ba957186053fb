"""A person at the page: outline, correct, train, accept, reload, export. `make test-browser`.

`SCREENSHOTS=FOLDER` keeps pictures, those of docs/annotate.md among them.
"""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support import browser
from support.browser import click, drag, settled, things
from support.runs import NET

from nucleist.annotation.session import Session
from nucleist.annotation.taken import traced
from nucleist.ops.splines import curve

pytest.importorskip("playwright", reason="make test-browser installs it")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium; see make test-browser"),
]

QUICK = ["data.batch_size=1", "augment.crop=48", "trainer=cpu", *NET]
QUICK += ["model.roi.detections_per_img=20"]


@pytest.fixture
def folder(tmp_path):
    return browser.drawn_images(tmp_path / "cells")


@pytest.fixture
def served(folder):
    server = browser.Served(folder, *QUICK)
    yield server
    server.stop()


def keep(page, name):
    """Keep a picture, if somebody wants one."""
    if place := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(place) / f"{name}.png")


def nuclei(page, state="labelled"):
    return [one for one in things(page) if one["kind"] == "nucleus" and one["state"] == state]


def stored(folder, number=1):
    """What is beside an image, once it is there and young enough."""
    return json.loads((folder / f"cells_{number}.nucleist.geojson").read_bytes())["features"]


# Clicks around nuclei of the first drawn image, from its picture.
OUTLINES = [
    [(133, 18), (137, 33), (147, 40), (160, 33), (163, 19), (150, 8)],
    [(34, 83), (42, 91), (55, 92), (63, 82), (56, 74), (44, 73)],
    [(125, 112), (125, 130), (133, 145), (146, 140), (149, 127), (138, 112)],
]


def test_from_outlines_to_an_export(served, folder, tmp_path):
    with browser.opened(served.address) as page:
        assert "token" not in page.url
        # Outlines by clicks: the first begins with the right button, Enter closes it.
        for number, points in enumerate(OUTLINES):
            click(page, *points[0], button="right" if number == 0 else "left")
            for point in points[1:]:
                click(page, *point)
            if number == 0:
                keep(page, "drawing")
                page.keyboard.press("Enter")
            else:
                click(page, *points[0])  # the first point closes too
            settled(page)
        assert len(nuclei(page)) == 3
        page.keyboard.press("o")
        drag(page, (104, 212), (139, 236))
        settled(page)
        assert len(nuclei(page)) == 4
        page.keyboard.press("Escape")

        # The curve of the page is the curve of the library.
        for one in nuclei(page):
            drawn = page.evaluate("a => window.nucleist.curve(a, 0.5).points", one["anchors"])
            assert np.allclose(drawn, curve(np.array(one["anchors"]), 0.5), atol=1e-9)

        # Anchors: drag one, insert one on the curve, delete one.
        click(page, 137, 127)
        (own,) = page.evaluate("[...window.nucleist.viewer.selected]")
        before = next(one for one in nuclei(page) if one["id"] == own)["anchors"]
        drag(page, before[0], (before[0][0] - 3, before[0][1] - 2))
        settled(page)
        anchors = next(one for one in nuclei(page) if one["id"] == own)["anchors"]
        assert np.allclose(anchors[0], np.subtract(before[0], (3, 2)), atol=0.3)
        assert anchors[1:] == before[1:]
        ring = curve(np.array(anchors), 0.5)
        between = ring[len(ring) * 5 // 12]
        drag(page, between, np.add(between, (2, 2)))
        settled(page)
        more = next(one for one in nuclei(page) if one["id"] == own)["anchors"]
        assert len(more) == len(anchors) + 1
        keep(page, "anchors")
        click(page, *more[0], modifiers=["Alt"])
        settled(page)
        assert len(next(one for one in nuclei(page) if one["id"] == own)["anchors"]) == len(anchors)
        for _ in range(3):
            page.keyboard.press("Control+z")
            settled(page)
        assert next(one for one in nuclei(page) if one["id"] == own)["anchors"] == before
        page.keyboard.press("Control+y")
        settled(page)
        assert next(one for one in nuclei(page) if one["id"] == own)["anchors"] == anchors

        # Cut, merge, delete, a finished area.
        page.keyboard.press("c")
        drag(page, (137, 105), (138, 150))
        settled(page)
        assert len(nuclei(page)) == 5
        page.keyboard.press("m")
        click(page, 131, 127)
        click(page, 145, 127, modifiers=["Shift"])
        page.keyboard.press("g")
        settled(page)
        assert len(nuclei(page)) == 4
        click(page, 137, 127, modifiers=["Control"])
        settled(page)
        assert len(nuclei(page)) == 3
        page.keyboard.press("Control+z")
        settled(page)
        page.keyboard.press("r")
        drag(page, (28, 66), (70, 100))
        settled(page)
        page.keyboard.press("m")
        assert [one["kind"] for one in things(page)].count("region") == 1

        # All of it is there after a reload, and after the server was killed.
        kept = sorted(map(json.dumps, things(page)))
        page.reload()
        browser.ready(page)
        assert sorted(map(json.dumps, things(page))) == kept
        page.errors.clear()
        served.kill()
        click(page, 137, 127)
        page.keyboard.press("Delete")
        browser.until(page, "!document.getElementById('banner').hidden", 2)
        keep(page, "no_server")
        served.start()
        settled(page)
        browser.until(page, "document.getElementById('banner').hidden")
        assert len(nuclei(page)) == 3
        page.keyboard.press("Control+z")
        settled(page)
        assert sorted(map(json.dumps, things(page))) == kept
        page.errors.clear()  # of the time without a server

        # Train a few steps; proposals come by themselves.
        page.fill("#steps", "4")
        page.click("#train")
        browser.until(page, "!document.getElementById('progress').hidden", 30)
        browser.until(
            page, "/\\d of \\d|done/.test(document.getElementById('round').textContent)", 120
        )
        keep(page, "training")
        browser.until(page, "/done|failed/.test(document.getElementById('round').textContent)", 400)
        assert "done" in page.text_content("#round"), page.text_content("#round")

        # Four steps teach little: the proposals from here on are what the images were drawn from.
        propose(served, page, folder)
        keep(page, "proposals")
        proposed = nuclei(page, "proposed")
        assert len(proposed) >= 5
        before = len(proposed)
        page.keyboard.press("Tab")
        page.wait_for_timeout(400)
        keep(page, "next")
        page.keyboard.press("Enter")
        settled(page)
        assert len(nuclei(page, "proposed")) == before - 1
        page.keyboard.press("Tab")
        page.keyboard.press("Delete")
        settled(page)
        assert len(nuclei(page, "rejected")) == 1
        page.keyboard.press("Shift+Enter")
        settled(page)
        done = nuclei(page)
        assert {one["origin"] for one in done} == {"drawn", "proposed"}
        page.keyboard.press("h")
        keep(page, "help")
        page.keyboard.press("Escape")
        page.keyboard.press("f")
        page.click("#fit")
        page.wait_for_timeout(300)
        keep(page, "accepted")

        # Exports, as the browser saves them.
        saved = {}
        for kind in ("geojson", "fiji", "labels"):
            with page.expect_download() as download:
                page.click(f"[data-export={kind}]")
            saved[kind] = tmp_path / download.value.suggested_filename
            download.value.save_as(saved[kind])
        count = len(done)
        features = json.loads(saved["geojson"].read_bytes())["features"]
        classes = [one["properties"]["classification"]["name"] for one in features]
        assert classes.count("Nucleus") == count and "Proposal" not in classes
        with zipfile.ZipFile(saved["fiji"]) as archive:
            assert len(archive.namelist()) == count
        assert len(np.unique(tifffile.imread(saved["labels"]))) == count + 1
        assert page.errors == []
    served.stop()
    assert len([one for one in stored(folder)]) == len(things_of(folder))


def things_of(folder):
    """What a session finds in the folder."""
    with Session(folder) as session:
        return session.picture(0).things


def propose(served, page, folder):
    """Stop the server, propose the drawn nuclei, start it again, and load the page."""
    served.stop()
    truth = browser.SOURCE.read(browser.SOURCE.splits()["train"][0]).labels
    found = [
        {"anchors": anchors, "score": 0.97 - 0.05 * number}
        for number, anchors in enumerate(traced(truth).values())
    ]
    with Session(folder) as session:
        session.propose(0, found, 1, "m")
    served.start()
    page.goto(served.address)
    browser.ready(page)
    page.errors.clear()


def test_two_tabs_see_each_other_and_overwrite_nothing(served):
    with browser.opened(served.address) as page:
        page.evaluate("location.hash = '1'")
        page.reload()
        browser.ready(page)
        other = page.context.new_page()
        browser.goto(other, served.address.partition("?")[0] + "#1")
        page.keyboard.press("o")
        drag(page, (100, 100), (130, 130))
        settled(page)
        browser.until(other, "window.nucleist.viewer.things.size === 1")
        # Without events, as on a line that hangs, the other one edits what it last saw.
        other.evaluate("window.nucleist.now.revision = 0")
        (own,) = (one["id"] for one in things(page))
        other.evaluate("id => window.nucleist.queue.add(1, {do: 'move', id, by: [9, 9]}, 0)", own)
        settled(other)
        assert "another window" in other.text_content("#say")
        assert things(other) == things(page)
        # What a page could not send, the next one does.
        left = {"index": 1, "seen": 99, "key": "k", "tab": "t"}
        left["command"] = {"do": "region", "corners": [[9, 9], [40, 40]]}
        store = "left => localStorage.setItem(window.nucleist.queue.stored, left)"
        page.evaluate(store, json.dumps([left]))
        page.reload()
        browser.ready(page)
        settled(page)
        assert [one["kind"] for one in things(page)].count("region") == 1
        page.keyboard.press("w")
        settled(page)
        browser.until(other, "document.querySelector('#images .complete') !== null")


def test_a_full_disk_is_said_and_nothing_is_lost(served, folder):
    with browser.opened(served.address) as page:
        page.evaluate("location.hash = '2'")
        page.reload()
        browser.ready(page)
        log = Session(folder).log(2)  # not entered: the server has the folder
        log.parent.mkdir(exist_ok=True)
        log.symlink_to("/dev/full")
        page.keyboard.press("o")
        drag(page, (100, 100), (130, 130))
        browser.until(page, "!document.getElementById('banner').hidden", 2)
        assert "No space left" in page.text_content("#banner")
        drag(page, (150, 150), (180, 180))
        settled(page)
        assert len(nuclei(page)) == 2
        page.wait_for_timeout(1000)
        assert page.is_visible("#banner")
        log.unlink()
        browser.until(page, "document.getElementById('banner').hidden", 5)
        assert len(log.read_text().splitlines()) == 2
