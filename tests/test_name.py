"""The project has one name, and a README that is read in a minute."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD_NAME = "kary" + "on"
MAY_TELL = {"CHANGELOG.md"}


def test_the_old_name_is_in_no_file() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert len(names) > 100
    assert [name for name in names if OLD_NAME in name.lower()] == []
    found = {name for name in names if OLD_NAME.encode() in (ROOT / name).read_bytes().lower()}
    assert found <= MAY_TELL
    for name in found:
        assert (ROOT / name).read_bytes().lower().count(OLD_NAME.encode()) == 1, "told once"


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 160
    assert {number: line for number, line in enumerate(lines, 1) if len(line) > 100} == {}
