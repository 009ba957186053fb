"""Which recipe `weights=nuclei` brings along."""

import pytest

from nucleist.config.compose import compose


def test_shipped_weights_take_their_recipe() -> None:
    config = compose("train", ["weights=nuclei"])
    assert config.steps == 150 and config.trainer.max_steps == 150
    assert config.median_box == [32, 32] and config.model.backbone.extra_level
    assert len(config.model.anchor_sizes) == 4


def test_what_is_asked_for_stays() -> None:
    config = compose("train", ["steps=7", "weights=nuclei", "optim.optimizer.lr=0.1"])
    assert config.steps == 7 and config.optim.optimizer.lr == 0.1


@pytest.mark.parametrize("words", [[], ["weights=other.ckpt"], ["weights=coco"]])
def test_other_weights_take_none(words: list[str]) -> None:
    assert compose("train", words) == compose("train", [*words, "+recipe=compact"])


def test_a_named_recipe_is_taken_instead() -> None:
    config = compose("train", ["weights=nuclei", "+recipe=compact"])
    assert config.steps == 600 and len(config.model.anchor_sizes) == 3
