"""Small runs, trained once for all tests that only look at them."""

import os
from pathlib import Path

import filelock
import pytest

import nucleist
from nucleist.cli.main import main
from nucleist.files import text_hash, write_text
from nucleist.types import Progress
from support import layouts
from support.lines import Lines

# Few tiny images: the 90 of the default are drawn in seconds.
IMAGES = [
    "data.source.n_train=4",
    "data.source.n_test=2",
    "data.source.size=[64,64]",
    "data.source.count=[3,5]",
    "data.source.radius=[5,8]",
]

# Fast on two cores: tiny images, few detections, two steps.
SMALL = [
    "trainer=debug",
    "data.batch_size=2",
    *IMAGES,
    "augment.crop=48",
    "model.roi.detections_per_img=20",
]

# With these a thin net, half as slow again.
NET = [
    "model.box_head=32",
    "model.mask_head=[16,16]",
    "+model.backbone.channels=16",
    "+model.backbone.stem=8",
    "+model.backbone.widths=[16,24,32]",
    "model.rpn.post_nms_top_n.training=20",
    "model.rpn.post_nms_top_n.testing=20",
    "model.rpn.batch_size_per_image=32",
    "model.roi.batch_size_per_image=16",
]
THIN = [*SMALL, *NET]
SHAPES = [word for word in SMALL if not word.startswith("model.roi")]  # without detections

# Runs that several files look at, each tested on both of its test images.
PA = (*THIN, "data.annotation_fraction=0.5", "seed=3", "trainer.limit_test_batches=2")
PLAIN = (*THIN, "model=mask_rcnn", "trainer.limit_test_batches=2")
# presence_bias: after two steps every slot still has a high score
CANONICAL = (*SHAPES, "model=canonical_shape", "model.presence_bias=3", "seed=1")
CANONICAL += ("score_threshold=0.6", "trainer.limit_test_batches=2")


def train(folder: Path, *words: str, progress: Progress | None = None) -> Path:
    """Train with these settings; returns the run folder below `folder`."""
    return nucleist.train(overrides=[f"runs={folder}", *words], progress=progress or Lines())


def shared(factory: pytest.TempPathFactory, words: tuple[str, ...]) -> Path:
    """The run folder of these settings, trained at the first call; do not change it.

    The workers of pytest-xdist share it: the first one trains, the others wait.
    """
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    place = root / f"shared-{text_hash(' '.join(words))}"
    with filelock.FileLock(f"{place}.lock"):
        if not place.exists():
            write_text(place, str(train(factory.mktemp("shared"), *words)))
    return Path(place.read_text())


def data_root(folder: Path) -> Path:
    """All published layouts, a few tiny images each."""
    layouts.bbbc038(folder / "bbbc038")
    layouts.kumar(folder / "kumar")
    layouts.tnbc(folder / "tnbc")
    layouts.dh100(folder / "dh100")
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str, last: bool = False) -> str:
    """The one line that a user reads who did something wrong; the status is 2.

    Args:
        capsys: Of pytest.
        arguments: The command.
        last: Whether there may be lines of progress before it.
    """
    assert main(list(arguments)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert last or len(lines) == 1, lines
    assert [line for line in lines if line.startswith("nucleist: ")] == lines[-1:]
    return lines[-1]
