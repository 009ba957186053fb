"""A run folder trained again: equal on the same machine, and what differs is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from support.lines import Lines
from support.runs import THIN, train

import nucleist
from nucleist.cli.main import main
from nucleist.files import read_json
from nucleist.training.reproduce import (
    Reproduction,
    as_many_threads,
    compare,
    same_data,
    stored_config,
    version_changes,
    where_they_were,
)
from nucleist.training.run import images_checksum
from nucleist.training.train import build_data
from nucleist.types import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["data.annotation_fraction=0.5", "seed=4", "name=a/b"]
    return train(tmp_path_factory.mktemp("run"), *THIN, *words)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """The run, to be changed."""
    return Path(shutil.copytree(run, tmp_path / "a" / "b" / "copied"))


def change(file: Path, how: Callable[[dict], object]) -> None:
    """Change the content of a JSON file."""
    content = json.loads(file.read_text())
    how(content)
    file.write_text(json.dumps(content))


def test_the_same_comes_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", str(run)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["kept labels and scores are equal", "weights: equal"]
    again = Path(told[2])
    assert again.parent == run.parent and again != run
    assert (again / "metrics.csv").read_text() == (run / "metrics.csv").read_text()


def test_a_run_from_before_mask_alignment_is_trained_as_it_was(tmp_path: Path) -> None:
    run = train(tmp_path, *THIN, "model.mask_alignment=torchvision")
    config = OmegaConf.load(run / "config.yaml")
    del config.model.mask_alignment
    OmegaConf.save(config, run / "config.yaml")
    found = nucleist.reproduce(run, progress=Lines())
    assert found.is_equal and found.weights == "equal"


def test_a_run_records_a_checksum_of_its_images(run: Path) -> None:
    data = build_data(stored_config(run))
    record = json.loads((run / "environment.json").read_text())
    assert record["images"] == images_checksum(data.record(name) for name in data.ids("train"))


def test_the_stored_labels_are_kept_whatever_is_drawn_now(run: Path, copy: Path) -> None:
    """A version that had kept the other half of an image: its labels are trained on."""
    images = json.loads((copy / "manifest.json").read_text())["images"]
    name, kept = next((n, e["ids"]) for n, e in images.items() if len(e["ids"]) > 1)
    change(copy / "manifest.json", lambda content: content["images"][name].update(ids=kept[:1]))
    found = nucleist.reproduce(copy, progress=Lines())
    assert not found.is_equal and found.same_images
    (remark,) = found.remarks
    assert remark.startswith(f"kept labels: in 1 images, {name!r} for one, others would be drawn")
    assert not any(line.startswith(("kept", "annotation_fraction")) for line in found.differences)
    assert any(line.startswith("labelled_nuclei: ") for line in found.differences)
    again = json.loads((found.run / "manifest.json").read_text())
    assert again["images"] == {**images, name: {**images[name], "ids": kept[:1]}}


def test_other_images_are_noticed_and_old_records_compare_none(run: Path) -> None:
    """An old run has no checksum; one of other pixels differs, though all scores are equal."""
    before = read_json(run / "environment.json", "")
    labels = read_json(run / "manifest.json", "")
    for record, same, line in (
        (before, True, []),
        ({**before, "images": "0" * 16}, False, ["training images: the images differ from those"]),
        ({"torch": "1.0"}, True, ["training images: not compared, the run has no checksum"]),
    ):
        found = same_data(stored_config(run), run, record, labels)
        assert found[0] is same
        assert [text[: len(line[0])] for text in found[1]] == line
    assert not Reproduction(run, [], [], "equal", same_images=False).is_equal
    assert not Reproduction(run, ["a"], [], "equal", same_images=True).is_equal
    assert Reproduction(run, [], ["a"], "equal", same_images=True).is_equal


def test_an_old_record_is_enough_and_differences_are_listed(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if it had been made by another version, with a higher mAP."""
    for key in ("images", "folder", "data_root", "threads"):
        change(copy / "environment.json", lambda content, key=key: content.pop(key))
    change(copy / "environment.json", lambda content: content.update(torch="1.0"))
    change(copy / "summary.json", lambda content: content["test"]["map"].update(pooled=0.75))
    (copy / "checkpoints" / "last.ckpt").unlink()
    command = ["reproduce", str(copy), "-o", str(copy.parent / "new"), "tolerance=0.5"]
    assert main(command) == 1
    told = capsys.readouterr().out
    assert "torch: 1.0 then, " in told
    assert "test/map/pooled: 0.75 then, " in told
    assert "weights: not compared" in told
    assert "training images: not compared, the run has no checksum of them" in told
    assert list((copy.parent / "new").rglob("summary.json"))


def test_on_the_cpu_the_threads_are_those_of_the_run() -> None:
    config, now = OmegaConf.create({"trainer": {"accelerator": "cpu"}}), torch.get_num_threads()
    for stored, expected in (("3", 3), ("0", now), (None, now), ("many", now)):
        with as_many_threads(config, {"threads": stored}):
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == now


def test_data_are_looked_for_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    before = {"folder": str(tmp_path), "data_root": str(tmp_path)}
    text = {"data_root": "${oc.env:NUCLEIST_DATA,data}", "data": {"source": {"root": "mine"}}}
    monkeypatch.delenv("NUCLEIST_DATA", raising=False)
    config = OmegaConf.create(text)
    with where_they_were(config, before):
        assert config.data_root == str(tmp_path)
        assert config.data.source.root == str(tmp_path / "mine")
    assert config.data_root == "data"
    gone = OmegaConf.create(text)
    with where_they_were(gone, {"folder": "/gone", "data_root": "/gone"}):
        assert (gone.data_root, gone.data.source.root) == ("data", "mine")
    monkeypatch.setenv("NUCLEIST_DATA", "elsewhere")
    with where_they_were(gone, before):
        assert gone.data_root == "elsewhere"


def test_versions_are_compared_and_places_are_not() -> None:
    old = {"torch": "1.0", "folder": "a", "images": "0", "gpu": None}
    new = {"torch": "2.0", "folder": "b", "images": "1", "gpu": None, "git": "abc"}
    assert list(version_changes(old, new)) == [
        "torch: 1.0 then, 2.0 now",
        "git: None then, abc now",
    ]


def test_a_stranger_s_configuration_runs_nothing(copy: Path, tmp_path: Path) -> None:
    path = copy / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["optim"]["optimizer"] = {"_target_": "os.system", "command": f"touch {tmp_path}/pwned"}
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"config\.yaml: calls 'os\.system'.*trust=os"):
        nucleist.reproduce(copy)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", None),
        ("config.yaml", "a: [1"),
        ("config.yaml", "- 1\n"),
        ("config.yaml", "\x00\x01"),
        ("config.yaml", "model: ${nothing.here"),
        ("manifest.json", None),
        ("summary.json", None),
        ("summary.json", "{"),
        ("environment.json", "[]"),
    ],
)
def test_one_line_for_what_is_no_run(name: str, content: str | None, copy: Path) -> None:
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_text(content)
    with pytest.raises(UserError) as error:
        nucleist.reproduce(copy)
    line = str(error.value)
    assert "\n" not in line and name in line and "give the folder of a" in line, line


def test_a_difference_within_the_tolerance_is_none() -> None:
    old = {"a": {"b": 0.50, "train_seconds": 1}, "c": None, "d": "x", "e": float("nan")}
    new = {"a": {"b": 0.51, "train_seconds": 9}, "c": None, "d": "x", "e": float("nan")}
    assert list(compare(old, new, 0.02)) == []
    assert list(compare(old, new)) == ["a/b: 0.5 then, 0.51 now"]
    assert list(compare({"a": 1}, {})) == ["a: 1 then, null now"]
