"""What a person is sent to first."""

import uuid

from support.annotations import ring

from nucleist.annotation.things import Thing, corners, outline
from nucleist.annotation.work import work_list


def things(*given):
    made = [
        Thing(str(uuid.UUID(int=number)), "nucleus", outline(anchors), **more)
        for number, (anchors, more) in enumerate(given, 1)
    ]
    return {one.id: one for one in made}


def proposed(score):
    return {"state": "proposed", "origin": "proposed", "score": score}


def numbers(items):
    return [uuid.UUID(item.id).int for item in items]


def test_uncertain_proposals_come_before_certain_ones():
    found = work_list(
        things((ring(10, 10), proposed(0.99)), (ring(30, 10), proposed(0.55)),
               (ring(50, 10), proposed(0.7)), (ring(10, 30), {})), 0.5,
    )  # fmt: skip
    assert numbers(found) == [2, 3] and found[0].reason == "uncertain: score 0.55"


def test_faint_ones_may_have_been_missed_and_rejected_ones_are_done():
    found = work_list(
        things((ring(10, 10), proposed(0.4)), (ring(30, 10), proposed(0.1)),
               (ring(50, 10), {"state": "rejected"})), 0.5,
    )  # fmt: skip
    assert numbers(found) == [1] and "missed" in found[0].reason


def test_a_crossed_outline_is_first_then_what_contradicts_a_finished_region():
    all_ = things((ring(10, 10), proposed(0.5)), ([(0, 0), (20, 20), (20, 0), (0, 20)], {}),
                  (ring(50, 50), proposed(0.9)))  # fmt: skip
    region = Thing(str(uuid.UUID(int=9)), "region", corners([(40, 40), (60, 60)]))
    found = work_list({**all_, region.id: region}, 0.5)
    assert numbers(found) == [2, 3, 1]
    assert "crosses itself" in found[0].reason and "finished" in found[1].reason


def test_odd_sizes_and_shapes():
    usual = [(ring(10 + 20 * n, 10), {}) for n in range(6)]
    thin = [(x, 60 + y / 5) for x, y in ring(40, 0, 15)]
    found = work_list(things(*usual, (ring(60, 60, 30), proposed(0.95)), (thin, {})), 0.5)
    assert numbers(found)[:2] == [7, 8]
    assert "large" in found[0].reason and "odd shape" in found[1].reason
