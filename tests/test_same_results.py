"""What was computed before the house was rebuilt is computed still, bit for bit on the same CPU.

`tests/golden` has losses, scores, a hash of the weights and a label map of 20 steps, stored at
commit 87d7eec, and the command that made them. On another CPU or version of torch sums of floats
differ in the last digits: there losses are compared with a tolerance.
"""

import contextlib
import csv
import hashlib
import io
import json
import platform
from pathlib import Path

import pytest
import tifffile
import torch

import nucleist
from nucleist.cli.main import main
from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.data.formats.images import write_image
from nucleist.training.speed import device_name

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = [
    *("data=synthetic", "data.source.n_train=6", "data.source.n_test=3"),
    *("data.source.size=[128,128]", "data.source.count=[8,14]"),
    *("steps=20", "seed=0", "val_every=10", "augment.crop=96"),
    *("trainer=cpu", "trainer.log_every_n_steps=1"),
    "model.mask_alignment=torchvision",  # there was no other then
]


@pytest.fixture(scope="module")
def golden() -> dict:
    return json.loads((GOLDEN / "pa_20_steps.json").read_text())


@pytest.fixture(scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(one_thread, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained by the command line; that the library trains the same is tested with a tiny run."""
    runs = tmp_path_factory.mktemp("runs")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["train", "experiment=bbbc360_25_pa", *SETTINGS, "-o", str(runs)]) == 0
    return Path(printed.getvalue().strip())


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = compose("train", ["experiment=bbbc360_25_pa", *SETTINGS])
    record = build(config.data.source).read("synthetic-test-0000")
    return write_image(tmp_path_factory.mktemp("images") / record.id, record.image)


def same_machine(golden: dict) -> bool:
    """Whether floats are added here in the order in which they were added then."""
    then = golden["environment"]
    return (
        torch.__version__ == then["torch"]
        and torch.backends.cpu.get_cpu_capability() == then["capability"]
        and device_name(torch.device("cpu")).startswith(f"{then['cpu']},")
        and platform.machine() == "x86_64"
    )


def losses(run: Path, name: str) -> list[str]:
    with (run / "metrics.csv").open(newline="") as file:
        return [row[name] for row in csv.DictReader(file) if row["train/loss"]]


def hash_of_weights(run: Path) -> str:
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()


def test_losses_weights_and_scores(run: Path, golden: dict) -> None:
    for name in ("loss", "loss_mask", "loss_centerness"):
        now = losses(run, f"train/{name}")
        # the first steps: later ones amplify what the last digits differ in
        assert [float(x) for x in now[:3]] == pytest.approx(
            [float(x) for x in golden[name][:3]], rel=1e-3
        )
    if same_machine(golden):
        for name in ("loss", "loss_mask", "loss_centerness"):
            assert losses(run, f"train/{name}") == golden[name]
        assert hash_of_weights(run) == golden["weights"]
        with (run / "thresholds.csv").open(newline="") as file:
            rows = [[r["score_threshold"], r["map_pooled"]] for r in csv.DictReader(file)]
        assert rows == golden["map_against_threshold"]
    summary = json.loads((run / "summary.json").read_text())
    for part in ("test", "test_calibrated"):
        assert summary[part].keys() >= golden[part].keys()  # there may be more scores now
        if same_machine(golden):
            assert {key: summary[part][key] for key in golden[part]} == golden[part]


def test_label_map_of_predict(run: Path, image: Path, golden: dict, tmp_path: Path) -> None:
    wanted = tifffile.imread(GOLDEN / "pa_20_steps_labels.tif")
    labels = nucleist.load(run, device="cpu").predict(image, score_threshold=0.15).labels
    words = ["predict", str(run), str(image), "-o", str(tmp_path), "score_threshold=0.15"]
    assert main([*words, "device=cpu"]) == 0
    written = tifffile.imread(tmp_path / f"{image.stem}_labels.tif")
    assert (labels == written).all(), "library and command line agree"
    assert labels.shape == wanted.shape
    if same_machine(golden):
        assert (labels == wanted).all()
