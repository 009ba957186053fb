"""Options of a trained net: which keys there are, and what becomes of the configuration."""

import pytest

from nucleist.config.options import parsed, with_options
from nucleist.types import UserError

MODEL = {
    "_target_": "nucleist.models.mask_rcnn",
    "_convert_": "all",
    "backbone": {"_target_": "nucleist.models.compact_fpn", "channels": 16},
    "roi": {"score_thresh": 0.05},
    "anchor_sizes": [[12], [24]],
}


def test_words_become_values() -> None:
    words = ["roi.score_thresh=0.3", "grid=32", "a=[1,x]", "b=null", "c='1'", "grid=16"]
    assert parsed(words) == {
        "roi.score_thresh": 0.3,
        "grid": 16,  # the last one counts
        "a": [1, "x"],
        "b": None,
        "c": "1",
    }


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("grid", "'grid' is not a setting; write key=value"),
        ("grid=[1", r"'grid=\[1' is not a setting"),
        ("grid=1,2", "'grid=1,2' is a list of values; give one"),
        ("grid=interval(0,1)", "is a list of values"),
    ],
)
def test_a_word_that_is_no_value_is_one_line(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parsed([word])


def test_stored_keys_and_parameters_of_constructors_are_options() -> None:
    """`extra_level` and `caps_area` are not stored; the constructors have them."""
    options = {"roi.score_thresh": 0.3, "backbone.extra_level": True, "caps_area": None}
    changed = with_options(MODEL, options)
    assert changed["roi"] == {"score_thresh": 0.3}
    assert changed["backbone"] == {**MODEL["backbone"], "extra_level": True}  # type: ignore[dict-item]
    assert changed["caps_area"] is None
    assert MODEL["roi"] == {"score_thresh": 0.05}, "the stored configuration is not changed"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("roi.score_tresh", "did you mean 'roi.score_thresh'?"),
        ("roi.score_thresh.deep", "mask_rcnn has no such option"),
        ("zzz", "it has backbone"),
        ("_target_", "no such option"),
        ("backbone._target_", "no such option"),
    ],
)
def test_any_other_key_is_one_line(key: str, hint: str) -> None:
    with pytest.raises(UserError) as error:
        with_options(MODEL, {key: 1})
    assert str(error.value).startswith(f"model.{key}=1: ") and hint in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("roi.score_thresh", "high", "model.roi.score_thresh=high is not a number; it was 0.05"),
        ("roi.score_thresh", True, "is not a number"),
        ("roi", "x", "model.roi=x: a group of options; set one, model.roi.score_thresh="),
        ("backbone", 3, "a group of options"),
        ("anchor_sizes", 12, "model.anchor_sizes=12 is not a list"),
    ],
)
def test_a_value_of_another_kind_is_one_line(key: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_options(MODEL, {key: value})


def test_one_number_for_a_group_of_numbers() -> None:
    """`model.rpn.pre_nms_top_n=4000`: in training and at inference."""
    model = {**MODEL, "rpn": {"pre_nms_top_n": {"training": 1000, "testing": 2000}}}
    assert with_options(model, {"rpn.pre_nms_top_n": 4000})["rpn"] == {"pre_nms_top_n": 4000}
    changed = with_options(model, {"rpn.pre_nms_top_n.testing": 4000})["rpn"]
    assert changed == {"pre_nms_top_n": {"training": 1000, "testing": 4000}}
    assert with_options(MODEL, {"roi.score_thresh": 1})["roi"] == {"score_thresh": 1}
