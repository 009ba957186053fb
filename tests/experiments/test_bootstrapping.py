"""The simulated annotator of experiments/bootstrapping: what it does, and what that costs."""

import dataclasses

import numpy as np
import pytest
from skimage.draw import disk
from support.annotations import folder_of_images, ring

from experiments.bootstrapping.annotator import (
    RULES,
    Bars,
    command,
    corrected,
    listed,
    paired,
    plan,
)
from experiments.bootstrapping.finish import left_to_do
from experiments.bootstrapping.prices import Fix, by_hand, price
from experiments.bootstrapping.quality import added, found_in
from experiments.bootstrapping.truth import iou_of, truth_of
from nucleist.annotation.session import Session
from nucleist.annotation.things import Thing

PLACES = {1: (16, 16), 2: (46, 16), 3: (16, 46), 4: (46, 46)}
"""x and y of the middle of each nucleus; their radius is 8."""


def truth():
    labels = np.zeros((64, 64), np.int32)
    for number, (x, y) in PLACES.items():
        labels[disk((y - 0.5, x - 0.5), 8, shape=labels.shape)] = number
    labels[0, 0] = 5  # a speck, too small for an outline
    return truth_of(labels)


def thing(own, x, y, score=0.9, radius=8.0, **what):
    about = {"state": "proposed", "origin": "proposed", "score": score, **what}
    return Thing(own, "nucleus", tuple(map(tuple, ring(x, y, radius))), **about)


def some_of_each():
    """Nucleus 1 is right, 2 is too small, 3 is hidden, 4 is missed; one outline is of nothing."""
    things = [thing("right", 16, 16), thing("small", 46, 16, radius=5.5)]
    things += [thing("hidden", 16, 46, 0.2), thing("false", 31, 31, radius=4)]
    return {one.id: one for one in things}


def kinds(fixes):
    return [(fix.kind, fix.thing, fix.nucleus) for fix in fixes]


def test_what_is_known_of_each_nucleus():
    found = truth()
    assert list(found.nuclei) == [1, 2, 3, 4] and found.labels[0, 0] == 0
    one = found.nuclei[1]
    assert iou_of(list(one.anchors), found.labels == 1) >= 0.97
    assert one.ellipse > 0.95 and 6 <= one.rough <= len(one.anchors)


def test_outlines_and_nuclei_are_paired_one_to_one():
    things = {"a": thing("a", 16, 16), "b": thing("b", 18, 16), "c": thing("c", 31, 31, radius=4)}
    pairs = paired(things, truth(), 0.5)
    assert list(pairs) == ["a"] and pairs["a"][0] == 1 and pairs["a"][1] > 0.9
    hidden = {**things, "a": thing("a", 16, 16, 0.2)}  # what is shown and good goes first
    assert list(paired(hidden, truth(), 0.5, Bars(good=0.7))) == ["b"]
    drawn = {**things, "b": thing("b", 18, 16, state="labelled", origin="drawn")}
    assert list(paired(drawn, truth(), 0.5)) == ["b"]


def test_all_that_is_to_be_done_in_order():
    assert kinds(plan(some_of_each(), truth(), 0.5)) == [
        ("correct", "small", 2), ("reject", "false", 0), ("accept_above", "", 0),
        ("accept", "hidden", 3), ("add", "", 4),
    ]  # fmt: skip


def test_without_corrections_wrong_ones_are_drawn_anew_and_hidden_ones_are_not_there():
    fixes = plan(some_of_each(), truth(), 0.5, RULES["cellpose"])
    assert kinds(fixes) == [
        ("reject", "small", 0), ("add", "", 2), ("reject", "false", 0), ("accept_above", "", 0),
        ("add", "", 3), ("add", "", 4),
    ]  # fmt: skip


def test_a_correction_moves_no_more_anchors_than_it_needs():
    found = truth()
    anchors = ring(46, 16)
    anchors[0] = [46 + 16, 16]  # one of eight is far outside
    one = dataclasses.replace(thing("a", 46, 16), anchors=tuple(map(tuple, anchors)))
    fix = corrected(one, found.nuclei[2], found, Bars(done=0.9))
    assert fix.moved == 1 and iou_of(list(fix.anchors), found.labels == 2) >= 0.9
    assert corrected(thing("a", 46, 16, radius=4), found.nuclei[2], found).moved > 3
    assert corrected(one, found.nuclei[2], found, Bars(done=1.01)) is None


def test_the_list_of_the_page_goes_before_what_was_missed():
    things = some_of_each()
    things["sure"] = thing("sure", 46, 46, 0.55)
    whole = listed(things, truth(), 0.5, 10)
    assert {(fix.kind, fix.thing) for fix in whole} >= {("accept", "sure"), ("reject", "false")}
    assert all(fix.kind != "accept_above" for fix in whole)
    assert kinds(listed(things, truth(), 0.5, 1)) == kinds(whole[:1])
    assert kinds(listed({}, truth(), 0.5, 2)) == [("add", "", 1), ("add", "", 2)]


def test_what_an_action_is():
    nuclei = truth().nuclei
    many = len(nuclei[1].anchors)
    add, correct = Fix("add", nucleus=1), Fix("correct", "a", 1, moved=3)
    expected = {"anchors": many + 1, "ellipse": 2, "rough": nuclei[1].rough + 1}
    expected |= {"stroke": 1 + many / 2, "tab": many + 1}
    assert {count: price(count, add, nuclei) for count in expected} == expected
    assert price("anchors", correct, nuclei) == 4 and price("tab", correct, nuclei) == 5
    for kind in ("accept", "reject", "delete", "accept_above", "whole"):
        assert price("anchors", Fix(kind), nuclei) == 1
    assert by_hand("ellipse", nuclei.values()) == 8


def test_what_is_left_to_do_is_what_doing_it_takes(tmp_path):
    """By hand-counted actions, and by a session that does them: all is right then."""
    found = truth()
    fixes = plan(some_of_each(), found, 0.5)
    told = left_to_do([(some_of_each(), found, False)], 0.5, RULES["nucleist"], Bars())
    moved, anchors = fixes[0].moved, len(found.nuclei[4].anchors)
    # correct, reject, accept all, accept one, draw, complete
    assert told["spent"]["anchors"] == (1 + moved) + 1 + 1 + 1 + (anchors + 1) + 1
    assert told["to_95"]["anchors"] == told["spent"]["anchors"] - 1  # all four are needed
    proposals = [{"anchors": one.anchors, "score": one.score} for one in some_of_each().values()]
    with Session(folder_of_images(tmp_path, 1), who="simulated") as session:
        session.propose(0, proposals, 1, "m")
        for fix in plan(session.picture(0).things, found, 0.5):
            session.apply(0, command(fix, "image0"))
        things = session.picture(0).things
        assert plan(things, found, 0.5) == []
        score = added([found_in(things, found, None)])
    assert score["recall"] == score["precision"] == 1 and score["mean_iou"] > 0.85


def test_quality_of_what_is_labelled_and_of_what_is_shown():
    one = truth()
    nothing = added([found_in(some_of_each(), one, None)])
    assert nothing == {"recall": 0.0, "precision": 1.0, "mean_iou": 0.0}
    # Of three that are shown two are nuclei, "small" at an IoU below 1/2 or above.
    shown = found_in(some_of_each(), one, 0.5)
    assert (shown.nuclei, shown.outlines) == (4, 3)
    assert shown.matched == pytest.approx(1.5, abs=0.5)
