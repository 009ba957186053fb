"""Small trainings, and what they leave behind."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support.lines import Lines
from support.runs import PA, SHAPES, SMALL, THIN, data_root, train
from support.sources import InMemory, grid

import nucleist
import nucleist.conf
from nucleist.cli.main import main
from nucleist.config.compose import compose
from nucleist.data import read_manifest
from nucleist.distributed.trainer import _precision
from nucleist.training.schedules import one_cycle
from nucleist.types import UserError

pytestmark = pytest.mark.slow

CONF = Path(next(iter(nucleist.conf.__path__)))
EXPERIMENTS = sorted(p.stem for p in (CONF / "experiment").glob("*.yaml"))
MASK_RCNNS = sorted(p.stem for p in (CONF / "preset").glob("*.yaml") if p.stem != "none")
FEW = [  # proposals and detections
    "model.rpn.post_nms_top_n.training=40",
    "model.rpn.post_nms_top_n.testing=20",
    "model.roi.batch_size_per_image=16",
    "model.roi.detections_per_img=5",
]
STEP = ["trainer=debug", "trainer.max_steps=1", "data.batch_size=2"]


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_the_run_folder_holds_what_the_readme_promises(pa: Path) -> None:
    for name in ("config.yaml", "environment.json", "manifest.json", "metrics.csv", "summary.json"):
        assert (pa / name).is_file(), name
    for name in ("overlays", "center_map", "attention_map"):
        assert (pa / "figures" / f"{name}.png").stat().st_size > 1000
    summary = json.loads((pa / "summary.json").read_text())
    assert summary["seed"] == 3
    assert summary["annotation_fraction"] == 0.5
    assert summary["steps"] == 2
    assert summary["parameters"] > 100_000
    assert summary["train_seconds"] > 0
    for part in ("test", "test_calibrated", "test_best_threshold"):
        for name in ("map", "aji", "ncs", "precision", "recall", "pq"):
            assert set(summary[part][name]) == {"pooled", "per_image"}
    # 3, 4, 3 or 5 nuclei an image, half of them, at least one
    manifest = read_manifest(pa / "manifest.json")
    assert [len(entry.choice) for entry in manifest.values()] == [2, 2, 2, 2]
    assert summary["labelled_nuclei"] == 8


def test_the_summary_has_the_speed(pa: Path) -> None:
    speed = json.loads((pa / "summary.json").read_text())["speed"]
    assert set(speed) == {
        "seconds_per_step", "seconds_per_image", "peak_memory_mb", "device", "measured_by",
    }  # fmt: skip
    assert speed["measured_by"] == "run"
    assert 0 < speed["seconds_per_step"] < 60 and 0 < speed["seconds_per_image"] < 60
    assert speed["peak_memory_mb"] > 50


def test_every_step_logs_losses_rate_and_counts(pa: Path) -> None:
    with (pa / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    assert len(rows) == 2
    for name in (
        "loss_centerness", "loss_center_box", "loss_objectness", "loss_rpn_box_reg",
        "loss_classifier", "loss_box_reg", "loss_mask",
        "found_boxes", "ignored_anchors", "ignored_rois",
    ):  # fmt: skip
        assert float(rows[0][f"train/{name}"]) >= 0
    parts = [float(v) for k, v in rows[0].items() if k.startswith("train/loss_") and v]
    assert float(rows[0]["train/loss"]) == pytest.approx(sum(parts), rel=1e-5)
    # cosine with 30 steps of warm-up: 1/30, then 2/30 of 0.001
    assert [float(row["lr"]) for row in rows] == pytest.approx([1e-3 / 30, 2e-3 / 30])


def test_a_canonical_shape_net_trains_and_draws_its_shape(canonical: Path) -> None:
    summary = json.loads((canonical / "summary.json").read_text())
    assert summary["steps"] == 2 and summary["parameters"] > 11_000_000  # ResNet-18
    with (canonical / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    losses = [name for name in rows[0] if name.startswith("train/loss_")]
    assert set(losses) == {"train/loss_bce", "train/loss_dice", "train/loss_count"}
    rates = [float(row["lr"]) for row in rows]
    assert rates == pytest.approx([0.01 * one_cycle(step, 2) for step in range(2)], rel=1e-4)
    with Image.open(canonical / "figures" / "canonical_shape.png") as picture:
        assert picture.size == (750, 660)
        assert len(np.unique(np.asarray(picture))) > 50


@pytest.mark.usefixtures("no_pictures")
def test_one_seed_fixes_everything_however_often_it_validates(pa: Path, tmp_path: Path) -> None:
    again = train(tmp_path / "again", *PA)
    assert equal(weights(again), weights(pa)) and equal(weights(again, "best"), weights(pa, "best"))
    rare = train(tmp_path / "rare", *PA, "trainer.val_check_interval=2")
    assert equal(weights(rare), weights(pa))


@pytest.mark.usefixtures("no_pictures")
def test_a_manifest_is_repeated_exactly(pa: Path, tmp_path: Path) -> None:
    again = train(tmp_path, *THIN, f"data.manifest={pa / 'manifest.json'}", "seed=9")
    assert read_manifest(again / "manifest.json") == read_manifest(pa / "manifest.json")


def test_the_command_line_trains_what_the_library_trains(
    pa: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *PA, "-o", str(tmp_path)]) == 0
    told = capfd.readouterr()
    (run,) = (Path(line) for line in told.out.splitlines())
    assert run.parents[1] == tmp_path and (run / "summary.json").is_file()
    assert "step 2/2" in told.err
    assert equal(weights(run), weights(pa))
    assert main(["train", "bbbc360_05_pa", "--cfg"]) == 0
    assert "annotation_fraction: 0.05" in capfd.readouterr().out


@pytest.mark.usefixtures("no_pictures")
def test_progress_is_shown_where_it_is_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    silent = [*THIN, f"runs={tmp_path}", "model.roi.score_thresh=0.9"]  # no limit to warn of
    nucleist.train(overrides=silent)
    assert capfd.readouterr() == ("", "")
    nucleist.train(overrides=[*silent, "seed=1"], progress=True)
    told = capfd.readouterr()
    assert told.out == ""
    assert "16 labelled nuclei" in told.err and "step 1/2" in told.err and "step 2/2" in told.err
    lines = Lines()
    nucleist.train(overrides=[*silent, "seed=2"], progress=lines)
    assert capfd.readouterr() == ("", "")
    assert [line.split()[1] for line in lines.notes if line.startswith("step")] == ["1/2,", "2/2,"]
    assert not lines.warnings


@pytest.mark.usefixtures("no_pictures")
def test_settings_are_the_same_in_python_and_in_words(pa: Path, tmp_path: Path) -> None:
    run = nucleist.train(
        overrides=THIN,
        progress=Lines(),
        runs=tmp_path,
        seed=3,
        data={"annotation_fraction": 0.5},
        trainer={"limit_test_batches": 2},
    )
    assert equal(weights(run), weights(pa))


def source() -> InMemory:
    """Four images to train on, two to test, with five squares each."""
    maps = [grid(*range(1, 6), shape=(64, 64)) for _ in range(6)]
    return InMemory(maps[:4], maps[4:])


OWN = [word for word in THIN if "source" not in word]


@pytest.mark.usefixtures("no_pictures")
def test_an_object_that_reads_images_is_trained_on(tmp_path: Path) -> None:
    images = source()
    run = nucleist.train(images, overrides=OWN, progress=Lines(), runs=tmp_path)
    assert run.parent.name == "inmemory_mask_rcnn_pa"
    model = nucleist.load(run, device="cpu")  # which needs no reader, and so no trust=
    assert model.predict(images.read("test-0").image).labels.shape == (64, 64)
    found = nucleist.evaluate(model, data=images, progress=Lines())
    stored = json.loads((run / "summary.json").read_text())["test"]
    assert {row["image"] for row in found.images} == {"test-0", "test-1"}
    assert set(stored) == set(found.summary["test"])
    with pytest.raises(UserError, match=r"'support\.sources\.InMemory' as data.*trust=support"):
        nucleist.evaluate(model, progress=Lines())


def test_an_object_cannot_be_found_again(tmp_path: Path) -> None:
    """Two objects of one class have one hash: the finished run of another would be taken."""
    with pytest.raises(UserError, match="resume=auto") as error:
        nucleist.train(source(), overrides=OWN, runs=tmp_path, resume="auto")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def folder_of_squares(root: Path) -> Path:
    """Five images of three squares each, of which the last two have no labels."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for name in "abcde":
        pixels, labels = rng.integers(0, 40, (64, 64), np.uint8), np.zeros((64, 64), np.uint8)
        for number, row in enumerate((5, 25, 45), start=1):
            pixels[row : row + 12, 20:34], labels[row : row + 12, 20:34] = 200, number
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        if name < "d":
            Image.fromarray(labels).save(root / "labels" / f"{name}.png")
    return root


@pytest.mark.usefixtures("no_pictures")
def test_a_folder_is_trained_on_and_images_without_labels_are_named(tmp_path: Path) -> None:
    lines, root = Lines(), folder_of_squares(tmp_path / "mine")
    run = nucleist.train(root, overrides=OWN, progress=lines, runs=tmp_path / "runs")
    assert run.parent.name == "folder_mask_rcnn_pa"
    (warning,) = (line for line in lines.warnings if "labels" in line)
    assert "d.png: image without labels, and 1 more; nucleist data check lists them" in warning


@pytest.mark.parametrize("what", ["bbbc360_05_p", "my_imags"])
def test_what_is_neither_folder_nor_name_is_one_line(what: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{what}: neither a folder nor an experiment") as error:
        nucleist.train(what, runs=tmp_path)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All published layouts, tiny."""
    return data_root(tmp_path_factory.mktemp("data"))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains_a_step(name: str, layouts: Path, tmp_path: Path) -> None:
    options = [*STEP, f"data_root={layouts}"]
    if name.startswith("bbbc360"):  # the tiny fakes are not 360 px wide
        options += ["data.source.group=null", "data.source.train=3"]
    if name == "demo":
        options += ["data.source.n_train=2", "data.source.n_test=1", "data.source.size=[64,64]"]
        options += ["data.source.count=[2,3]"]
    if name.startswith(("dh", "kumar_pa", "tnbc")):  # the paper's net is 400 MB
        options += ["preset=resnet18", "weights=null", "model.transform.min_size=64"]
        options += ["model.box_head=32", "model.mask_head=[16,16]"]
    if name.startswith(("nuset", "nuclei")):
        options += ["data.source.group=null", "data.fractions={train: 0.6, val: 0.2, test: 0.2}"]
    if name.startswith(("dist", "nuset")):
        options += ["model.width=2"]
    elif "canonical_shape" not in name and "deeplabv3" not in name:
        options += FEW
    run = nucleist.train(name, overrides=options, progress=Lines(), runs=tmp_path)
    assert run.parent.name == name
    assert json.loads((run / "summary.json").read_text())["experiment"] == name


@pytest.mark.parametrize("name", [*EXPERIMENTS, *(f"preset={p}" for p in MASK_RCNNS)])
def test_windows_and_whole_images_reach_the_net_at_one_scale(name: str) -> None:
    """Windows of a fixed side, or images of several sizes, and a net that resizes: two scales."""
    config = compose("train", [name if "=" in name else f"experiment={name}"])
    windows = config.augment.crop is not None or config.data.crop_fraction is not None
    side = OmegaConf.select(config, "model.transform.min_size")
    assert not (windows and side is not None)
    mixed = config.data.source.get("kumar_root") or config.data.source.get("group", "one") is None
    assert not (mixed and side is not None)


RESNET = [*FEW, "preset=resnet18", "model.box_head=32", "model.mask_head=[16,16]"]
RESNET += ["model.transform.min_size=64"]
SHAPE = ["model=canonical_shape"]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    "overrides",
    [  # the first choice of each is named after what may differ from the default
        ["optim=sgd", "normalize=full_range", "augment=flips", "data.exemplars=2"],
        ["callbacks=warmup", "callbacks.warmup.mode=skip", "augment=strong"],
        ["data.crop_fraction=0.25", "augment=light", "data.workers=1"],
        ["model=mask_rcnn", "augment=stain"],
        RESNET,
        [*SHAPE, "model.two_pass=false", "model.temperature=0.5", "model.upsample=log"],
        [*SHAPE, "model.translation=absolute", "model.aspp=true", "data.batch_size=1"],
        [*SHAPE, "model.backbone.name=resnet50", "data.batch_size=1", "augment.crop=16"],
    ],
    ids=lambda words: "preset=resnet18" if words == RESNET else " ".join(words),
)
def test_every_option_trains(overrides: list[str], tmp_path: Path) -> None:
    own_net = overrides == RESNET or overrides[:1] == SHAPE
    small = THIN if not own_net else SHAPES if overrides[:1] == SHAPE else SMALL
    run = train(tmp_path, *small, *overrides)
    assert json.loads((run / "summary.json").read_text())["steps"] == 2


def test_gpus_compute_in_bfloat16_where_they_have_it(monkeypatch):
    """`auto` is resolved by the trainer, on the machine that trains."""
    for has, wanted in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda has=has, **_: has)
        for choice in ("gpu", "ddp"):
            config = compose("train", [f"trainer={choice}"])
            assert config.trainer.precision == "auto"
            assert _precision(config.trainer.accelerator) == wanted
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert _precision("gpu") == "32-true"
