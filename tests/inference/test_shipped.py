"""The weights that come with the package: their hash, what they outline, what has their name."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nucleist
from nucleist.cli.main import main
from nucleist.inference.load import checkpoint_of, is_model_path
from nucleist.metrics import mean_average_precision
from nucleist.models.weights import shipped
from nucleist.models.weights.portable import read_about
from nucleist.training.overlap import weights_file
from nucleist.types import UserError

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_file_is_the_one_whose_hash_is_written_down() -> None:
    path = shipped.shipped_file("nuclei")
    assert path is not None and path.stat().st_size < 6e6
    written = json.loads((shipped.folder() / "sha256.json").read_text())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == written["nuclei"]
    about = read_about(path)
    assert set(about["config"]) == {"model", "normalize", "name", "seed"}
    assert len(about["trained_on"]) > 500  # images of BBBC038
    assert "/work" not in json.dumps(about) and "/home" not in json.dumps(about)


def test_loading_runs_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **kw: object) -> None:
        raise AssertionError("a pickle was read")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refused)
    model = nucleist.load("nuclei", device="cpu")
    assert not model.net.training and model.threshold == 0.8


@pytest.mark.slow
def test_a_stored_picture_is_outlined_as_it_was() -> None:
    """Processors and versions differ in the last digits: of 10 overlaps one may be another."""
    model = nucleist.load("nuclei", device="cpu")
    wanted = np.asarray(Image.open(GOLDEN / "nuclei_labels.png"))
    found = model.predict(GOLDEN / "nuclei.png").labels
    assert found.max() == pytest.approx(wanted.max(), abs=1)
    assert mean_average_precision(wanted, found) > 0.9


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shipped.folder(), tmp_path / "files")
    monkeypatch.setattr(shipped, "folder", lambda: tmp_path / "files")
    path = tmp_path / "files" / "nuclei.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="another hash"):
        nucleist.load("nuclei")
    path.unlink()
    with pytest.raises(UserError, match="install nucleist again"):
        nucleist.load("nuclei")


def test_a_folder_of_images_does_not_hide_it_and_a_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = shipped.shipped_file("nuclei")
    assert checkpoint_of("nuclei") == own and weights_file("nuclei") == str(own)
    (tmp_path / "nuclei").mkdir()
    assert checkpoint_of("nuclei") == own and weights_file("nuclei") == str(own)
    (tmp_path / "nuclei" / "checkpoints").mkdir()
    (tmp_path / "nuclei" / "checkpoints" / "last.ckpt").touch()
    assert checkpoint_of("nuclei") == Path("nuclei/checkpoints/last.ckpt")
    assert is_model_path("mine.safetensors")


def test_what_has_no_such_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="no such checkpoint or run folder"):
        nucleist.load("nucleus")
    assert main(["models", "nucleus"]) == 2
    assert "there is nuclei" in capsys.readouterr().err


def test_the_card_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    card = capsys.readouterr().out
    for word in ("CC0", "BBBC038", "cannot", "nucleist train nuclei", "fluorescence", "H&E"):
        assert word in card
    assert main(["models", "nuclei"]) == 0
    assert capsys.readouterr().out == card
