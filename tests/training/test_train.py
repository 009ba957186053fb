"""Training through the real command line, and what it leaves behind."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support.runs import SMALL, data_root

import nucleist.conf
from nucleist.cli.main import main
from nucleist.config.compose import compose
from nucleist.data import read_manifest
from nucleist.data.formats.label_maps import load_label_map
from nucleist.training.run import new_run_folder

CONF = Path(next(iter(nucleist.conf.__path__)))
SHAPE = ["model=canonical_shape"]
EXPERIMENTS = sorted(p.stem for p in (CONF / "experiment").glob("*.yaml"))
MASK_RCNNS = sorted(p.stem for p in (CONF / "preset").glob("*.yaml") if p.stem != "none")


def train(tmp_path: Path, *overrides: str, small: list[str] = SMALL) -> Path:
    assert main(["train", f"runs={tmp_path / 'runs'}", *small, *overrides]) == 0
    (summary,) = (tmp_path / "runs").rglob("summary.json")
    return summary.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("run"), "data.annotation_fraction=0.25", "seed=3")


def test_the_run_folder_holds_what_the_readme_promises(run: Path) -> None:
    for name in ("config.yaml", "environment.json", "manifest.json", "metrics.csv", "summary.json"):
        assert (run / name).is_file(), name
    for name in ("overlays", "center_map", "attention_map"):
        assert (run / "figures" / f"{name}.png").stat().st_size > 1000
    summary = json.loads((run / "summary.json").read_text())
    assert summary["seed"] == 3
    assert summary["annotation_fraction"] == 0.25
    assert summary["steps"] == 2
    assert summary["parameters"] > 2_000_000
    assert summary["train_seconds"] > 0
    for part in ("test", "test_calibrated", "test_best_threshold"):
        for name in ("map", "aji", "ncs", "precision", "recall", "pq"):
            assert set(summary[part][name]) == {"pooled", "per_image"}
    # 3 to 5 nuclei an image, a quarter of them but at least one: one each
    manifest = read_manifest(run / "manifest.json")
    assert [len(ids) for ids in manifest.values()] == [1, 1, 1, 1]
    assert summary["labelled_nuclei"] == 4


def test_the_run_says_how_fast_it_was(run: Path) -> None:
    speed = json.loads((run / "summary.json").read_text())["speed"]
    assert set(speed) == {
        "seconds_per_step", "seconds_per_image", "peak_memory_mb", "device", "measured_by",
    }  # fmt: skip
    assert speed["measured_by"] == "run"
    assert 0 < speed["seconds_per_step"] < 60 and 0 < speed["seconds_per_image"] < 60
    assert speed["peak_memory_mb"] > 50


def test_the_best_weights_are_tested_where_validation_cannot_tell(
    run: Path, tmp_path: Path
) -> None:
    """After one step mAP is as good as after two, so the first validation is the best."""
    same = ["data.annotation_fraction=0.25", "seed=3"]
    assert "best_checkpoint" not in json.loads((run / "summary.json").read_text())
    other = train(tmp_path / "other", *same, "data.splits.val=train")
    summary = json.loads((other / "summary.json").read_text())
    best = summary.pop("best_checkpoint")
    assert best["step"] == 1 and summary["steps"] == 2
    for part in ("test", "test_calibrated", "test_best_threshold"):
        assert set(best[part]) == set(summary[part])

    # As evaluating the file tells; the last weights are back, and are what everything else is of.
    out = tmp_path / "out"
    command = ["evaluate", f"checkpoint={other / 'checkpoints' / 'best.ckpt'}", "trainer=cpu"]
    assert main([*command, f"output={out}", "+trainer.limit_test_batches=1"]) == 0
    assert json.loads((out / "summary.json").read_text())["test"] == best["test"]
    first = json.loads((run / "summary.json").read_text())
    assert all(summary[part] == first[part] for part in ("test", "test_calibrated"))
    picture = Path("figures") / "center_map.png"
    assert (other / picture).read_bytes() == (run / picture).read_bytes()

    asked = train(tmp_path / "asked", *same, "test_best=true")
    assert json.loads((asked / "summary.json").read_text())["best_checkpoint"]["step"] == 1
    never = train(tmp_path / "never", *same, "data.splits.val=train", "test_best=false")
    assert "best_checkpoint" not in json.loads((never / "summary.json").read_text())


def test_every_step_logs_losses_rate_and_counts(run: Path) -> None:
    with (run / "metrics.csv").open() as file:
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


def test_a_manifest_is_repeated_exactly(run: Path, tmp_path: Path) -> None:
    again = train(tmp_path, f"data.manifest={run / 'manifest.json'}", "seed=9")
    assert read_manifest(again / "manifest.json") == read_manifest(run / "manifest.json")


def test_one_seed_fixes_everything(run: Path, tmp_path: Path) -> None:
    again = train(tmp_path, "data.annotation_fraction=0.25", "seed=3")
    for part in ("best", "last"):
        first, second = (
            torch.load(r / "checkpoints" / f"{part}.ckpt", weights_only=True)["state_dict"]
            for r in (run, again)
        )
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_validating_less_often_changes_no_weight(run: Path, tmp_path: Path) -> None:
    rare = ["trainer.val_check_interval=2", "data.annotation_fraction=0.25", "seed=3"]
    first, second = (
        torch.load(r / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for r in (run, train(tmp_path, *rare))
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_predict_writes_labels_and_overlay(run: Path, tmp_path: Path) -> None:
    from PIL import Image

    images = tmp_path / "images"
    images.mkdir()
    pixels = np.random.default_rng(0).integers(0, 4000, (50, 70), np.uint16)
    Image.fromarray(pixels).save(images / "a.png")
    out = tmp_path / "out"
    command = ["predict", str(run / "checkpoints" / "last.ckpt"), str(images), "-o", str(out)]
    assert main([*command, "--score-threshold", "0.06"]) == 0
    labels = load_label_map(out / "a_labels.tif")
    assert labels.shape == (50, 70)
    assert set(np.unique(labels)) == set(range(labels.max() + 1))
    with Image.open(out / "a_overlay.png") as overlay:
        assert overlay.size == (70, 50)
    assert main(command) == 2  # results are there already
    assert main([*command, "--overwrite"]) == 0


def test_evaluate_repeats_the_test_of_the_run(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    command = ["evaluate", f"checkpoint={checkpoint}", f"output={tmp_path}", "trainer=cpu"]
    assert main([*command, "+trainer.limit_test_batches=1"]) == 0
    scores = json.loads((tmp_path / "summary.json").read_text())
    summary = json.loads((run / "summary.json").read_text())
    assert scores == {key: summary[key] for key in scores}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains_a_step(name: str, tmp_path: Path) -> None:
    root = data_root(tmp_path / "data")
    options = ["trainer=debug", f"data_root={root}", "data.batch_size=2"]
    if name.startswith("bbbc360"):  # the tiny fakes are not 360 px wide
        options += ["data.source.group=null", "data.source.train=3"]
    if name == "demo":
        options += ["data.source.n_train=2", "data.source.n_test=1", "data.source.size=[64,64]"]
        options += ["data.source.count=[2,3]"]
    if name.startswith(("dh", "kumar_pa", "tnbc")):  # the paper's net is 400 MB
        options += ["preset=resnet18", "weights=null", "model.transform.min_size=64"]
        options += ["model.box_head=32", "model.mask_head=[16,16]"]
    if name.startswith("dist"):
        options += ["model.width=2"]
    elif "canonical_shape" not in name and "deeplabv3" not in name:
        options += ["model.roi.detections_per_img=5"]
    run = train(tmp_path, f"experiment={name}", small=options)
    assert run.parent.name == name
    assert json.loads((run / "summary.json").read_text())["experiment"] == name


@pytest.mark.parametrize("name", [*EXPERIMENTS, *(f"preset={p}" for p in MASK_RCNNS)])
def test_windows_and_whole_images_reach_the_net_at_one_scale(name: str) -> None:
    """Windows of a fixed side and a net that resizes: two scales in training and test."""
    config = compose("train", [name if "=" in name else f"experiment={name}"])
    windows = config.augment.crop is not None or config.data.crop_fraction is not None
    side = OmegaConf.select(config, "model.transform.min_size")
    assert not (windows and side is not None)


@pytest.mark.parametrize("choice", ["flips", "light", "strong", "stain"])
def test_every_augmentation_trains(choice: str, tmp_path: Path) -> None:
    train(tmp_path, f"augment={choice}")


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim=sgd"],
        ["normalize=full_range"],
        ["model=mask_rcnn"],
        ["callbacks=warmup", "callbacks.warmup.mode=skip"],
        ["data.exemplars=2"],
        ["data.crop_fraction=0.25"],
        [
            "preset=resnet18",
            "model.box_head=32",
            "model.mask_head=[16,16]",
            "model.transform.min_size=64",
        ],
        ["data.workers=1"],
        [*SHAPE, "model.translation=absolute"],
        [*SHAPE, "model.two_pass=false"],
        [*SHAPE, "model.two_pass=false", "model.temperature=0.5"],
        [*SHAPE, "model.upsample=log"],
        [*SHAPE, "model.aspp=true", "data.batch_size=1"],
        [*SHAPE, "model.backbone.name=resnet50", "data.batch_size=1", "augment.crop=16"],
    ],
    ids=lambda o: o[0] if o[:1] != SHAPE else " ".join(o[1:]),
)
def test_every_option_trains(overrides: list[str], tmp_path: Path) -> None:
    shape = overrides[:1] == SHAPE  # which has no detections to limit
    small = [o for o in SMALL if not o.startswith("model.roi")] if shape else SMALL
    train(tmp_path, *overrides, small=small)


def test_runs_of_the_same_second_do_not_collide(tmp_path: Path) -> None:
    folders = {new_run_folder(tmp_path, "same", "config") for _ in range(5)}
    assert len(folders) == 5


def test_cfg_prints_and_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "experiment=bbbc360_05_pa", "--cfg"]) == 0
    assert "annotation_fraction: 0.05" in capsys.readouterr().out


def test_gpus_compute_in_bfloat16_where_they_have_it(monkeypatch):
    for has, wanted in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda has=has, **_: has)
        assert compose("train", ["trainer=gpu"]).trainer.precision == wanted
        assert compose("train", ["trainer=ddp"]).trainer.precision == wanted
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert compose("train", ["trainer=gpu"]).trainer.precision == "32-true"


def test_images_of_ones_own_without_labels_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    root = tmp_path / "mine"
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for name in "abcde":
        pixels, labels = rng.integers(0, 40, (64, 64), np.uint8), np.zeros((64, 64), np.uint8)
        for number, row in enumerate((5, 25, 45), start=1):
            pixels[row : row + 12, 20:34], labels[row : row + 12, 20:34] = 200, number
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        if name < "d":
            Image.fromarray(labels).save(root / "labels" / f"{name}.png")
    small = [option for option in SMALL if "source" not in option]
    train(tmp_path, "data=folder", f"data.source.root={root}", small=small)
    told = capsys.readouterr().err
    assert "d.png: image without labels, and 1 more; nucleist data check lists them" in told
