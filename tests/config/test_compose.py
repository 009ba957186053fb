"""The configuration that words stand for, and one line about words that stand for none."""

import hydra
import pytest
from omegaconf import OmegaConf

from nucleist.config.compose import _composed, compose, written_out
from nucleist.types import UserError


@pytest.mark.parametrize(
    "word",
    [
        "optim.optimizer.lr=1e-3",
        "optim.optimizer.lr=inf",
        "augment.crop=null",
        "seed=${steps}",
        "++model.missed_ratio=0",
        "~callbacks.speed",
        "model.center.anchor_size=[32,32]",
        "data.source.size=256",
        "trainer.devices=auto",
        "rescale_rpn=1",
        "+recipe=compact",
        "weights=coco",
        "data.batch_size=${oc.decode:'3'}",
        "attention=attention_levels",
        "steps='600'",  # as variables of the environment are
    ],
)
def test_words_that_fit_are_taken(word: str) -> None:
    assert compose("train", [word])


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["experiment=bbbc360_25_pq"], ["no experiment 'bbbc360_25_pq'", "'bbbc360_25_pa'"]),
        (["model=mask_rcn"], ["no model 'mask_rcn'", "mask_rcnn"]),
        (["data=nothing_like_it"], ["no data 'nothing_like_it'; there is", "bbbc360"]),
        (["data.anotation_fraction=0.5"], ["data.annotation_fraction"]),
        (["modell=mask_rcnn"], ["'modell=mask_rcnn': there is no key 'modell'", "'model'"]),
        (["zzzzzz=1"], ["'zzzzzz'", "see nucleist train --cfg"]),
        (["model=dist", "model.suppress_rpn=true"], ["there is no key 'model.suppress_rpn'"]),
        (["+seed=3"], ["'+seed=3': there is a key 'seed' already; leave the + out"]),
        (["~seed=4"], ["'~seed=4'", "delete", "not 4"]),
        (["seed"], ["'seed' is not an override", "key=value"]),
        (["a b=1"], ["'a b=1' is not an override"]),
        (["seed=0,1"], ["'seed=0,1' is a list of values", "-m"]),
        (["optim.optimizer.lr=0,01"], ["the number is written optim.optimizer.lr=0.01"]),
        (["model=null"], ["'model=null': null is not a choice", "mask_rcnn_pa"]),
        (["launcher=submitit"], ["launcher=... does not go with this command", "-m"]),
        (["search=pa"], ["search=... does not go with this command", "nucleist.plan_search"]),
        (["sweep=seeds"], ["sweep=... does not go with this command", "nucleist.plan_sweep"]),
        (["recipe=paper"], ["recipe=... does not go with this command"]),
        (["hydra.run.dir=x"], ["'hydra.run.dir=x'", "runs="]),
        (["+hydra/launcher=x"], ["its own run folders"]),
        (["seed=abc"], ["seed=abc is not a number; the default is 0"]),
        (["rescale_rpn=3"], ["rescale_rpn=3 is neither true nor false"]),
        (["optim.optimizer.lr=true"], ["lr=True is not a number"]),
        (["steps=[1]", "data.batch_size=x"], ["data.batch_size=x is not a number"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_words_that_do_not_fit_are_one_line(words: list[str], messages: list[str]) -> None:
    with pytest.raises(UserError) as error:
        compose("train", words)
    for message in messages:
        assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mistake_does_not_spoil_the_next_configuration() -> None:
    before = OmegaConf.to_yaml(compose("train", []))
    for words in (["model=mask_rcn"], ["seed"], ["steps=x"]):
        with pytest.raises(UserError):
            compose("train", words)
    assert OmegaConf.to_yaml(compose("train", [])) == before


def test_a_configuration_belongs_to_the_caller() -> None:
    """What is remembered for the messages is not what is given out."""
    first = compose("train", ["model=dist"])
    first.model.width = 3
    assert compose("train", ["model=dist"]).model.width == 16


def test_the_configuration_is_written_with_its_references() -> None:
    text = written_out("train", ["steps=7"])
    assert OmegaConf.create(text).trainer.max_steps == 7
    assert "${oc.select:steps" in text


@pytest.mark.parametrize(
    "words",
    [
        ["seed=4", "seed=5", "steps=${seed}", "data.source.size=[64,64]"],
        ["experiment=bbbc360_25_pa", "model=dist", "+model.more={a: 1}"],
        ["~logger", "~callbacks.speed", "callbacks={mine: {a: 1}}"],
        ["callbacks=[default,warmup]", "+recipe=compact", "++model.missed_ratio=0"],
        ["model@other=dist", "model/width=3"],
        ["model=dist", "model.width2=3"],
        ["model=dist,unet"],
        ["~model=unet"],
        ["~seed=4"],
    ],
    ids=" ".join,
)
def test_it_is_what_hydra_composes(words: list[str]) -> None:
    """What is composed once and copied: equal, in order and flags too, or the same error."""
    with hydra.initialize_config_module("nucleist.conf", version_base="1.3"):
        found = []
        for way in (hydra.compose, _composed):
            try:
                config = way("train", words)
                text = OmegaConf.to_yaml(config)
                found.append((config, text, OmegaConf.is_struct(config), "hydra" in config))
            except Exception as error:
                found.append((type(error), str(error)))
    assert found[0] == found[1]
