"""A model from a run folder or a checkpoint, its options, and the images that it takes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import nucleist
from nucleist.inference.load import Model
from nucleist.types import UserError

pytestmark = pytest.mark.slow

PIXELS = np.random.default_rng(0).integers(0, 200, (50, 70, 3), np.uint8)


@pytest.fixture(scope="module")
def model(plain: Path) -> Model:
    return nucleist.load(plain, device="cpu")


@pytest.fixture
def copy(plain: Path, tmp_path: Path) -> Path:
    """A run folder, to be changed."""
    return Path(shutil.copytree(plain, tmp_path / "runs" / "a" / "run"))


def message(call) -> str:
    """The one line of a `UserError`."""
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_run_folder_means_its_last_weights(plain: Path) -> None:
    model = nucleist.load(plain, device="cpu")
    assert model.path == plain / "checkpoints" / "last.ckpt"
    assert nucleist.load(str(model.path), device="cpu").threshold == model.threshold
    assert not model.net.training and model.device.type == "cpu"
    assert nucleist.load(model) is model


def test_or_the_best_where_the_run_recommends_them(copy: Path) -> None:
    summary, checkpoints = copy / "summary.json", copy / "checkpoints"
    for name in ("best", "last", "best"):
        content = json.loads(summary.read_text()) | {"recommended": {"checkpoint": name}}
        summary.write_text(json.dumps(content))
        assert nucleist.load(copy, device="cpu").path == checkpoints / f"{name}.ckpt"
    (checkpoints / "best.ckpt").unlink()
    assert nucleist.load(copy, device="cpu").path == checkpoints / "last.ckpt"


@pytest.mark.parametrize("summary", [None, "{}", '{"recommended": "best"}', "{"])
def test_or_before_the_end_the_best_where_they_were_chosen_on_other_images(
    summary: str | None, copy: Path
) -> None:
    """Likewise of a run of an earlier version, which recommends nothing."""
    if summary is None:
        (copy / "summary.json").unlink()
    else:
        (copy / "summary.json").write_text(summary)
    assert nucleist.load(copy, device="cpu").path == copy / "checkpoints" / "last.ckpt"
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["data"]["splits"]["val"] = "train"
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    assert nucleist.load(copy, device="cpu").path == copy / "checkpoints" / "best.ckpt"
    (copy / "checkpoints" / "best.ckpt").unlink()
    assert nucleist.load(copy, device="cpu").path == copy / "checkpoints" / "last.ckpt"


def test_or_those_that_there_are(copy: Path) -> None:
    (copy / "config.yaml").unlink()
    (copy / "checkpoints" / "last.ckpt").unlink()
    model = nucleist.load(copy, device="cpu")
    assert model.path == copy / "checkpoints" / "best.ckpt"
    assert model.threshold == 0.5  # it was saved before the calibration


def test_what_is_no_run_is_one_line(copy: Path, tmp_path: Path) -> None:
    assert f"did you mean {copy}?" in message(lambda: nucleist.load(copy.parent))
    (tmp_path / "empty").mkdir()
    line = message(lambda: nucleist.load(tmp_path / "empty"))
    assert "no checkpoint in this folder; give a run folder" in line
    assert "no such checkpoint or run folder" in message(lambda: nucleist.load("/nowhere"))
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    assert "text.ckpt" in message(lambda: nucleist.load(tmp_path / "text.ckpt"))
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    line = message(lambda: nucleist.load(tmp_path / "other.ckpt"))
    assert "not a checkpoint of nucleist" in line


def test_weights_from_before_mask_alignment_are_pasted_as_they_were_trained(copy: Path) -> None:
    path = copy / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    assert content["nucleist"]["config"]["model"].pop("mask_alignment") == "exact"
    torch.save(content, path)
    model = nucleist.load(path, device="cpu")
    assert model.config["model"]["mask_alignment"] == "torchvision"
    assert model.net.transform.paste["alignment"] == "torchvision"  # type: ignore[union-attr]
    other = nucleist.load(path, options={"mask_alignment": "exact"}, device="cpu")
    assert other.net.transform.paste["alignment"] == "exact"  # type: ignore[union-attr]
    line = message(lambda: nucleist.load(path, options={"mask_alignment": "exakt"}))
    assert "model.mask_alignment" in line and "exact" in line


def test_a_checkpoint_calls_nothing_unknown(copy: Path, tmp_path: Path) -> None:
    path = copy / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["nucleist"]["config"]["model"]["backbone"]["_target_"] = "os.getcwd"
    torch.save(content, path)
    line = message(lambda: nucleist.load(path))
    assert "calls 'os.getcwd' as model" in line and "trust=os" in line


def test_an_unknown_device_is_one_line(plain: Path) -> None:
    for device in ("cuda:77", "tpu9"):
        line = message(lambda device=device: nucleist.load(plain, device=device))
        assert f"device={device}: not available here" in line


def test_a_parameter_that_no_file_named_may_be_given(plain: Path) -> None:
    # conf/ has no `extra_level` of the pyramid; the constructor has it, default false.
    assert "extra_level" not in nucleist.load(plain, device="cpu").config["model"]["backbone"]
    options = {"backbone.extra_level": False, "roi.nms_thresh": 0.25}
    model = nucleist.load(plain, options=options, device="cpu")
    assert model.config["model"]["backbone"]["extra_level"] is False
    assert model.net.roi_heads.nms_thresh == 0.25  # type: ignore[union-attr]
    assert nucleist.load(plain, device="cpu").net.roi_heads.nms_thresh == 0.5  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"roi.score_tresh": 0.3}, "did you mean 'roi.score_thresh'?"),
        ({"group": False}, "model.group=False: mask_rcnn has no such option"),
        ({"roi.score_thresh.deep": 1}, "no such option"),
        ({"_target_": "os.system"}, "no such option"),
        ({"backbone": {"_target_": "os.getcwd"}}, "calls 'os.getcwd'"),
        ({"box_head": 8}, "last.ckpt"),  # other weights
    ],
)
def test_what_is_no_option_is_one_line(options: dict, words: str, plain: Path) -> None:
    assert words in message(lambda: nucleist.load(plain, options=options))


def test_a_file_and_its_pixels_are_one_image(model: Model, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    expected = model.predict(PIXELS)
    assert expected.labels.shape == (50, 70) and len(expected) > 3
    for given in (tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(model.predict(given).labels, expected.labels)


def test_gray_is_three_equal_planes(model: Model) -> None:
    gray = PIXELS[..., 0]
    expected = model.predict(np.repeat(gray[..., None], 3, 2))
    np.testing.assert_array_equal(model.predict(gray).labels, expected.labels)
    np.testing.assert_array_equal(model.predict(gray).scores, expected.scores)


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.float64, np.int64, ">u2"])
def test_every_type_of_number_is_taken(kind, model: Model) -> None:
    """The normalisation by percentiles does not depend on the scale."""
    expected = model.predict(PIXELS)
    found = model.predict(PIXELS.astype(kind) * (16 if kind == np.uint16 else 1))
    assert found.labels.dtype == np.int32 and found.labels.shape == (50, 70)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 5, 6, 3), np.uint8), "shape (4, 5, 6, 3)"),
        (np.zeros((50, 70, 4), np.uint8), "shape (50, 70, 4)"),
        (np.zeros((3, 50, 70), np.uint8), "shape (3, 50, 70)"),
        (np.zeros(50, np.uint8), "shape (50,)"),
        (np.zeros((0, 70), np.uint8), "shape (0, 70)"),
        (np.zeros((50, 70), bool), "an image of bool"),
        (np.zeros((50, 70), complex), "an image of complex128"),
        (np.full((50, 70), None), "an image of object"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_no_image_is_one_line(array: np.ndarray, words: str, model: Model) -> None:
    assert words in message(lambda: model.predict(array))


def test_a_file_that_cannot_be_read_is_one_line(model: Model, tmp_path: Path) -> None:
    assert "/nowhere.png: cannot read" in message(lambda: model.predict("/nowhere.png"))
    assert "give an image" in message(lambda: model.predict(tmp_path))
    (tmp_path / "text.png").write_text("no image")
    assert "text.png" in message(lambda: model.predict(tmp_path / "text.png"))


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_out_of_range_is_one_line(threshold: float, model: Model) -> None:
    assert "not in [0, 1]" in message(lambda: model.predict(PIXELS, threshold))


def test_a_lower_threshold_after_a_higher_one_finds_as_much(plain: Path) -> None:
    """The floor of the scores is put back after each image."""
    used, fresh = (nucleist.load(plain, device="cpu") for _ in range(2))
    middle = float(np.median(fresh.predict(PIXELS, 0.0).scores))
    few, many = used.predict(PIXELS, middle), used.predict(PIXELS, 0.1)
    assert 0 < len(few.scores) < len(many.scores)
    assert used.net.score_floor == 0.0
    expected = nucleist.load(plain, device="cpu").predict(PIXELS, 0.1)
    for name in ("labels", "boxes", "scores"):
        np.testing.assert_array_equal(getattr(many, name), getattr(expected, name))
    # The higher threshold only leaves out nuclei, the best ones stay.
    np.testing.assert_array_equal(few.scores, many.scores[: len(few.scores)])
    kept = np.where(many.labels <= len(few.scores), many.labels, 0)
    np.testing.assert_array_equal(few.labels, kept)


def test_without_a_threshold_the_calibrated_one_acts(model: Model) -> None:
    by_default, same = model.predict(PIXELS), model.predict(PIXELS, model.threshold)
    np.testing.assert_array_equal(by_default.labels, same.labels)
    assert (by_default.scores > model.threshold).all()


def test_the_floor_of_the_normalisation_is_stored_and_can_be_changed(plain: Path) -> None:
    stored = nucleist.load(plain, device="cpu").normalize
    assert stored.floor is not None and stored.floor > 0
    without = nucleist.load(plain, device="cpu", options={"normalize.floor": 0}).normalize
    assert without.floor == 0 and without.high == stored.high
    words = message(lambda: nucleist.load(plain, options={"normalize.flor": 0}))
    assert words.startswith("normalize.flor=0: ") and "'floor'" in words
