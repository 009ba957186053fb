"""A package of the BioImage Model Zoo passes the zoo's own test."""

from pathlib import Path

import pytest

import nucleist
from nucleist.inference.exchange import quiet

pytestmark = pytest.mark.slow


def test_the_zoo_s_own_test_passes(pa: Path, tmp_path: Path) -> None:
    pydantic = pytest.importorskip("pydantic")
    core = pytest.importorskip("bioimageio.core")
    if tuple(map(int, pydantic.VERSION.split(".")[:2])) >= (2, 14):
        pytest.skip("bioimageio.spec 0.5.12 fails with pydantic 2.14")
    with quiet():
        path = nucleist.export_model(pa, tmp_path / "a.zip", format="bioimageio")
        found = core.test_model(path)
    assert found.status == "passed", found.details


def test_without_the_zoo_s_package_there_is_a_remedy(pa: Path, tmp_path: Path) -> None:
    try:
        import bioimageio.spec  # noqa: F401
    except ImportError:
        with pytest.raises(nucleist.UserError, match=r"pip install 'nucleist\[bioimageio\]'"):
            nucleist.export_model(pa, tmp_path / "a.zip", format="bioimageio")
    else:
        pytest.skip("it is installed")
