"""The built wheel holds the configuration and works away from the source tree."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole

SLOW = {"albumentations", "matplotlib", "pytorch_lightning", "torchmetrics"}
"""What takes long to import and is not needed to outline an image."""

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Path of the wheel, and of the folder it is unpacked into."""
    folder = tmp_path_factory.mktemp("wheel")
    # What pip calls; the build back end comes with the test environment: nothing is fetched.
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", code, folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return built, folder / "site"


def test_wheel_holds_the_package_and_nothing_else(wheel):
    built, _ = wheel
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
    package = ROOT / "src"
    expected = {
        path.relative_to(package).as_posix()
        for path in (package / "nucleist").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    needed = (
        *("conf/__init__.py", "conf/train.yaml", "report/templates/report.html.jinja"),
        "data/readers/bbbc038_fields.csv",
        *(f"models/weights/files/{name}" for name in ("nuclei.safetensors", "nuclei.md")),
        "models/weights/files/sha256.json",
    )
    assert {"nucleist/py.typed", *(f"nucleist/{name}" for name in needed)} <= expected
    assert {name for name in names if not name.split("/")[0].endswith(".dist-info")} == expected


def test_wheel_names_the_command(wheel):
    _, site = wheel
    (info,) = site.glob("*.dist-info")
    (point,) = PathDistribution(info).entry_points.select(group="console_scripts")
    assert (point.name, point.value) == ("nucleist", "nucleist.cli.main:main")


def test_wheel_composes_from_any_folder(wheel, tmp_path):
    _, site = wheel
    # What the console script does, and where the package came from.
    code = (
        "import sys, nucleist; from nucleist.cli.main import main; status = main(sys.argv[1:]); "
        "print(nucleist.__file__, file=sys.stderr); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "train", "experiment=bbbc360_25_pa", "--cfg"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == str(site / "nucleist" / "__init__.py")
    assert "_target_: nucleist.data.BBBC038" in done.stdout
    assert "annotation_fraction: 0.25" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_wheel_outlines_before_anything_is_labelled(wheel, tmp_path):
    _, site = wheel
    code = (
        "import sys; from nucleist.cli.main import main; status = main(sys.argv[1:]); "
        f"print({SLOW} & set(sys.modules)); sys.exit(status)"
    )
    image = ROOT / "tests" / "golden" / "nuclei.png"
    command = [sys.executable, "-c", code, "predict", "nuclei", image, "-o", "out", "device=cpu"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "nuclei_labels.tif").is_file()
    assert done.stdout.splitlines()[-1] == "set()"
