"""Names of run folders, and the record of what a run was made with."""

import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from nucleist.training.run import environment, find_run, images_checksum, new_run_folder
from nucleist.types import Record

pytestmark = pytest.mark.slow


def test_runs_of_the_same_second_do_not_collide(tmp_path: Path) -> None:
    folders = {new_run_folder(tmp_path, "same", "config") for _ in range(5)}
    assert len(folders) == 5


def test_another_configuration_is_another_run(tmp_path: Path) -> None:
    folder = new_run_folder(tmp_path, "a", "0" * 12)
    assert find_run(tmp_path, "a", "0" * 12) == folder
    assert find_run(tmp_path, "a", "1" * 12) is None
    assert find_run(tmp_path, "b", "0" * 12) is None
    finished = new_run_folder(tmp_path, "a", "0" * 12)
    (finished / "summary.json").write_text("{}")
    later = new_run_folder(tmp_path, "a", "0" * 12)
    assert later != finished and find_run(tmp_path, "a", "0" * 12) == finished


def test_the_checksum_sees_every_pixel_and_label() -> None:
    image, labels = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.int32)
    other = image.copy()
    other[3, 5, 2] = 1
    every = [("a", image, labels), ("b", image, labels), ("a", other, labels)]
    every += [("a", image, labels + 1), ("a", image.reshape(6, 4, 3), labels)]
    every += [("a", image.astype(np.int8), labels)]
    found = {images_checksum([Record(*one)]) for one in every}
    assert len(found) == len(every)
    assert images_checksum([Record("a", image[:, ::-1], labels)]) in found  # the same pixels


def test_the_record_has_versions_threads_and_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEIST_DATA", "mine")
    found = environment("nucleist train x")
    assert found["torch"] == version("torch") and found["command"] == "nucleist train x"
    assert found["threads"] == str(torch.get_num_threads())
    assert (found["folder"], found["data_root"]) == (os.getcwd(), os.path.abspath("mine"))
    assert "images" not in found and len(environment("", [])["images"] or "") == 16
