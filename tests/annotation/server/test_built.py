"""The page in the package is what the sources in frontend/ give."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FRONTEND = ROOT / "frontend"
PAGE = ROOT / "src" / "nucleist" / "annotation" / "server" / "page"


def test_the_page_was_bundled_after_the_last_change():
    names = ["build.mjs", "package-lock.json"]
    names += sorted(f"src/{path.name}" for path in (FRONTEND / "src").iterdir())
    data = b"".join((FRONTEND / name).read_bytes() for name in names)
    expected = hashlib.sha256(data).hexdigest()
    assert (PAGE / "sources.sha256").read_text().strip() == expected, "run make page"


@pytest.mark.slow
@pytest.mark.skipif(
    not (FRONTEND / "node_modules").is_dir() or shutil.which("node") is None,
    reason="needs Node.js and what make page installs",
)
def test_a_rebuild_is_identical(tmp_path):
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=FRONTEND, check=True)
    for path in PAGE.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_its_licences_and_its_size():
    words = (PAGE / "licences.txt").read_text()
    assert all(f"\n{name} " in f"\n{words}" for name in ("ol", "rbush", "quickselect"))
    assert (PAGE / "page.js").stat().st_size < 500_000
    own = sum(len(path.read_text().splitlines()) for path in (FRONTEND / "src").iterdir())
    assert own < 1500
