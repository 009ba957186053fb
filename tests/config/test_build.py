"""Objects from configuration nodes: what a constructor refuses is one line."""

import pytest
from omegaconf import OmegaConf

from nucleist.config.build import build, plain
from nucleist.ops.normalize import Percentile
from nucleist.types import UserError

PERCENTILE = "nucleist.ops.normalize.Percentile"


def refuse(value: int) -> None:
    """A constructor with a message for the user."""
    raise UserError(f"value={value} is too large; give less")


def refuse_later(value: int) -> None:
    """One whose message comes from deeper down."""
    try:
        refuse(value)
    except UserError as error:
        raise ValueError("no") from error


def test_a_node_becomes_an_object() -> None:
    assert isinstance(build({"_target_": PERCENTILE}), Percentile)
    node = OmegaConf.create({"_target_": "builtins.dict", "a": "${b}", "b": 3})
    assert build(node, c=4) == {"a": 3, "b": 3, "c": 4}


@pytest.mark.parametrize("name", ["refuse", "refuse_later"])
def test_what_the_constructor_refuses_keeps_its_words(name: str) -> None:
    with pytest.raises(UserError, match=r"^value=9 is too large; give less$"):
        build(
            {"inner": {"_target_": f"{__name__}.{name}", "value": 9}, "_target_": "builtins.dict"}
        )


def test_an_argument_that_does_not_fit_is_named_with_its_key() -> None:
    config = OmegaConf.create({"normalize": {"_target_": PERCENTILE, "percent": 3}})
    with pytest.raises(UserError) as error:
        build(config.normalize)
    assert str(error.value).startswith("normalize: ") and "'percent'" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "nucleist.no_such.thing"}, "nucleist.no_such"),
        ({"_target_": "builtins.dict", "root": "???"}, "root has no value; write root=VALUE"),
        ({"_target_": "builtins.dict", "a": "${nothing.there}"}, "nothing.there"),
        ({"_target_": "builtins.dict", "a": "${oc.env:NO_SUCH_VARIABLE_HERE}"}, "NO_SUCH_VARIABLE"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_one_line(node: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as error:
        build(OmegaConf.create(node))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_plain_values() -> None:
    config = OmegaConf.create({"a": {"b": [1, "${c}"]}, "c": "x"})
    assert plain(config.a) == {"b": [1, "x"]} and type(plain(config.a)["b"]) is list
    assert plain(3) == 3 and plain({"a": 1}) == {"a": 1}
    with pytest.raises(UserError, match="nowhere"):
        plain(OmegaConf.create({"a": "${nowhere}"}))
