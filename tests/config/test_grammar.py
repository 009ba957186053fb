"""Lists of values and ranges, as Hydra reads them."""

import pytest

from nucleist.config.compose import compose
from nucleist.config.grammar import class_of, expand, parse
from nucleist.data import Kumar
from nucleist.types import UserError


@pytest.mark.parametrize(
    ("overrides", "runs"),
    [
        (["seed=0,1"], ["seed=0", "seed=1"]),
        (["seed=range(3)"], ["seed=0", "seed=1", "seed=2"]),
        (["a=1,2", "b=x,y"], ["a=1 b=x", "a=1 b=y", "a=2 b=x", "a=2 b=y"]),
        (["attention=[p2,p3]"], ["attention=[p2,p3]"]),
        (["attention=[],[p2]"], ["attention=[]", "attention=[p2]"]),
        (["s=choice(0.1,0.5)", "+n='a,b'"], ["s=0.1 +n='a,b'", "s=0.5 +n='a,b'"]),
        (["seed=0,1", "seed=5"], ["seed=5"]),  # the last one counts
        (["model=glob(unet*)"], ["model=unet", "model=unet_foreground"]),
        (["model=glob(unet*,exclude=*_foreground)"], ["model=unet"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_lists_mean_what_they_mean_to_hydra(overrides: list[str], runs: list[str]) -> None:
    assert [" ".join(chosen) for chosen in expand(overrides)] == runs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed"], "'seed' is not an override; write key=value,value"),
        (["seed=interval(0,1)"], "'seed=interval(0,1)' is not a list of values"),
        (["seed=[1"], "is not an override"),
        (["a=range(0,3,0)"], "must not be zero"),
    ],
)
def test_what_cannot_be_expanded_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        expand(words)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_words_are_parsed_in_order() -> None:
    parts = parse(["a=1", "~b", "+c=x,y", "d=interval(0,1)"])
    assert [part.key_or_group for part in parts] == ["a", "b", "c", "d"]
    assert [part.is_sweep_override() for part in parts] == [False, False, True, True]
    assert parts[1].is_delete()


def test_the_class_of_a_node() -> None:
    assert class_of(compose("train", ["data=kumar"]).data.source) is Kumar
