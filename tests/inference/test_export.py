"""A trained model in one file: it outlines what the run outlines, and training goes on from it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support import runs
from support.sources import make_data

import nucleist
from nucleist.cli.main import main
from nucleist.models.weights.portable import read_about
from nucleist.training.overlap import seen_before
from nucleist.types import UserError

pytestmark = pytest.mark.slow

PIXELS = np.random.default_rng(0).integers(0, 200, (50, 70, 3), np.uint8)


@pytest.fixture(scope="module")
def exported(pa: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "new" / "mine.safetensors"
    return nucleist.export_model(pa, path)


def test_the_file_is_a_model(pa: Path, exported: Path) -> None:
    run, alone = nucleist.load(pa, device="cpu"), nucleist.load(exported, device="cpu")
    assert alone.threshold == run.threshold and alone.normalize == run.normalize
    for key, value in run.net.state_dict().items():
        assert torch.allclose(alone.net.state_dict()[key], value, rtol=2**-10, atol=1e-7)
    one, other = (model.predict(PIXELS, 0.05) for model in (run, alone))
    assert (one.labels > 0).sum() == pytest.approx((other.labels > 0).sum(), rel=0.05)


def test_it_holds_no_paths_and_no_labels(exported: Path) -> None:
    about = read_about(exported)
    assert set(about) == {
        *("format", "config", "calibrated_threshold", "trained_on", "provenance"),
        *("nucleus_diameter", "pixel_size"),
    }
    assert "data" not in about["config"] and str(exported.parent) not in str(about)
    assert len(about["trained_on"]) > 0


def test_an_exported_model_is_exported_as_it_is(exported: Path, tmp_path: Path) -> None:
    again = nucleist.export_model(exported, tmp_path / "again.safetensors")
    assert again.read_bytes() == exported.read_bytes()


def test_the_verb(pa: Path, exported: Path, tmp_path: Path, capsys) -> None:
    assert main(["export", str(pa), "-o", str(tmp_path / "a.safetensors")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == exported.read_bytes()
    for words, message in (
        (["-o", "a.ckpt"], "name a file that ends in .safetensors"),
        (["-o", "a.safetensors", "format=exe"], "format=exe"),
        ([], "needs -o"),
    ):
        assert main(["export", str(pa), *words]) == 2
        assert message in capsys.readouterr().err


def test_training_goes_on_from_it(exported: Path, tmp_path: Path) -> None:
    words = [*runs.PA, f"weights={exported}", "optim.optimizer.lr=0", f"runs={tmp_path}"]
    run = nucleist.train(overrides=words, progress=runs.Lines())
    went_on, began = (nucleist.load(model, device="cpu").net for model in (run, exported))
    for name, value in began.named_parameters():
        assert torch.equal(went_on.state_dict()[name], value)


def test_what_it_was_trained_on_is_known(exported: Path) -> None:
    data = make_data()
    assert seen_before(str(exported), data) == ""


def test_it_names_no_data(exported: Path) -> None:
    with pytest.raises(UserError, match="says nothing of images; name a data set"):
        nucleist.evaluate(exported)
    with pytest.raises(UserError, match="says nothing of other images"):
        nucleist.draw_figures(exported, ["nowhere"], "out")
