"""Every number has a card, and the card is the docstring of what computes it."""

import importlib

import pytest
import torch

import nucleist.metrics
from nucleist.metrics import (
    CoarseMask,
    InstanceScores,
    LabelledScores,
    NusetScores,
    PairScores,
    instance_metrics,
    labelled_scores,
    per_image_scores,
)
from nucleist.metrics.cards import FIELDS, card_of

cards = importlib.import_module("nucleist.metrics.cards")
EMPTY = torch.zeros(4, 4, dtype=torch.int32)
NOTHING = {"label_map": EMPTY, "scores": torch.zeros(0), "boxes": torch.zeros(0, 4)}
BEST = ("val/map_best_threshold", "val/labelled_score_best_threshold")


def names_of_numbers():
    """Every column and key that the metrics give out."""
    scores, metrics, maps = InstanceScores(), instance_metrics(), PairScores()
    scores.update([NOTHING], [EMPTY])
    metrics.update([NOTHING], [EMPTY])
    row = maps.add(EMPTY, EMPTY)
    labelled, nowhere = LabelledScores(), torch.zeros(4, 4, dtype=torch.bool)
    labelled.update([NOTHING], [EMPTY], [nowhere])
    row |= labelled.compute() | labelled_scores(EMPTY, EMPTY, nowhere)
    kinds, coarse = NusetScores(), CoarseMask()
    kinds.update([NOTHING], [EMPTY])
    coarse.update([{**NOTHING, "coarse": EMPTY > 0}], [EMPTY])
    row |= kinds.compute() | coarse.compute()
    every = {**scores.compute(), **metrics.compute(), **per_image_scores(EMPTY, EMPTY), **row}
    return [*every, *maps.means(), *maps.numbers(), *BEST]


@pytest.mark.parametrize("name", names_of_numbers())
def test_every_number_has_a_card(name):
    card = card_of(name)
    assert card is not None
    assert name.rpartition("/")[2].removesuffix("_pooled").removesuffix("_per_image") in card.names


def test_no_name_is_on_two_cards():
    names = [name for card in cards.cards() for name in card.names]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("card", cards.cards(), ids=lambda card: card.names[0])
def test_a_card_says_everything_in_plain_text(card):
    assert tuple(card.fields) == FIELDS[1:]
    assert card.title.endswith(".")
    for text in (card.title, card.formula, card.notes, *card.fields.values()):
        assert not set(text) & set("\\`"), text
        assert "math" not in text and "  " not in text
    assert card.function.rpartition(".")[2] in nucleist.metrics.__all__


def test_a_card_is_what_the_docstring_says():
    card = card_of("val/aji_per_image")
    assert card.names == ("aji",)
    assert card.function == "nucleist.metrics.functional.aggregated_jaccard_index"
    assert card.formula == (
        "AJI = (sum_j |G_j and S_*(j)|) / (sum_j |G_j or S_*(j)| + sum_(k in U) |S_k|)"
    )
    assert card.fields["Source"] == "Kumar et al., IEEE TMI 2017"
    assert card.fields["Matching"].endswith("depends a little on that order")  # of 3 lines
    assert card_of("no_such_thing") is None
    assert card_of("precision_recall") is None  # a function, not a number


def test_formulas_with_several_parts_take_a_line_each():
    assert cards.plain(r"P = \frac{TP}{TP + FP}, \quad R = \sqrt{1 - x}") == (
        "P = TP / (TP + FP)\nR = sqrt(1 - x)"
    )
