"""A search space in Hydra's words."""

import pytest

from nucleist.sweeps.space import split
from nucleist.types import UserError

optuna = pytest.importorskip("optuna", reason="needs the search extra")


def test_hydra_s_words_make_the_space() -> None:
    """The last range below 150 in steps of 30 from 0 is 120."""
    fixed, space = split(
        [
            "seed=3",
            "a=tag(log,interval(0.001,0.1))",
            "b=int(interval(1,9))",
            "c=range(0,150,30)",
            "d=range(0.0,1.0,0.25)",
            "+e=choice(x,[p2],3)",
            "model=mask_rcnn,mask_rcnn_pa",
        ]
    )
    d = optuna.distributions
    assert fixed == ["seed=3"]
    assert {key: part.distribution for key, part in space.items()} == {
        "a": d.FloatDistribution(0.001, 0.1, log=True),
        "b": d.IntDistribution(1, 9),
        "c": d.IntDistribution(0, 120, step=30),
        "d": d.FloatDistribution(0.0, 0.75, step=0.25),
        "e": d.CategoricalDistribution(["x", "[p2]", "3"]),
        "model": d.CategoricalDistribution(["mask_rcnn", "mask_rcnn_pa"]),
    }
    assert space["e"].override("[p2]") == "+e=[p2]" == space["e"].key + "=[p2]"
    assert [part.first() for part in space.values()][:2] == ["a=0.001", "b=1"]


def test_the_last_word_on_a_key_counts() -> None:
    declared = ["a=interval(0,1)", "b=interval(0,1)", "c=choice(x,y)", "warm=up"]
    fixed, space = split([*declared, "a=0.5", "b=interval(2,3)", "~c", "~d"])
    assert fixed == ["warm=up", "a=0.5", "~d"]
    assert {key: part.words for key, part in space.items()} == {"b": "interval(2,3)"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a=1"], "nothing to choose"),
        (["a=interval(2,1)"], "interval(2,1)"),
        (["a=tag(log,interval(0,1))"], "tag(log,interval(0,1))"),
        (["a=tag(cube,interval(1,2))"], "the one tag is log"),
        (["a=tag(log,choice(1,2))"], "the one tag is log"),
        (["a=range(3,3)"], "range(3,3)"),
        (["a"], "'a'"),
        (["seed=0,1"], "best seed is luck"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_what_is_no_space_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        split(words)
    assert message in str(error.value) and "\n" not in str(error.value)
