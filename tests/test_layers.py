"""The layers of the package: who may import whom, read from the syntax tree of every file."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "nucleist"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"types"},
    {"ops", "atomic"},
    {"data", "models", "metrics", "export"},
    {
        "task",
        "callbacks",
        "calibration",
        "checkpoints",
        "comparison",
        "launchers",
        "previews",
        "processes",
        "report",
        "runs",
        "schedules",
        "search",
        "speed",
        "sweeps",
        "watch",
    },
    {"cli"},
    {"__main__"},
]
"""From the bottom up: a part imports parts of lower layers and itself."""

STRANGERS = {1, 2}
"""Layers whose parts do not know each other."""

FORBIDDEN = {
    "hydra": set().union(*LAYERS) - {"cli"},
    "omegaconf": set().union(*LAYERS) - {"cli"},
    "pytorch_lightning": {"types", "ops", "models", "metrics", "export"},
    "lightning": set().union(*LAYERS),  # pytorch_lightning is what is installed
    "os": {"types", "ops"},
    "pathlib": {"types", "ops"},
}
"""Libraries, and the parts that may not use them. `ops` are pure functions: no files."""


def part_of(path: Path) -> str:
    """`data` for `data/kumar.py`, `task` for `task.py`."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(node: ast.AST) -> list[str]:
    """Dotted names imported below a node; `from a import b` gives `a.b`, which may be a module."""
    names = []
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            names += [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            prefix = "." * child.level + (child.module or "")
            names += [f"{prefix}.{alias.name}" for alias in child.names]
    return names


def at_import_time(tree: ast.Module) -> list[str]:
    """Names imported when the module is, not only when one of its functions runs."""
    deferred = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, deferred)
        for child in ast.walk(node)
    }
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    return [name for node in nodes if id(node) not in inside for name in imports(node)]


def broken_rules(part: str, source: str) -> list[str]:
    """What a source file of a part of the package does that it may not."""
    tree = ast.parse(source)
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    found = []
    for name in imports(tree):
        words = name.split(".")
        if words[0] == "":
            found.append(f"relative import {name}")
        elif words[0] == "nucleist" and words[1:2] not in ([], ["__version__"]):
            below = level.get(words[1], len(LAYERS)) < level[part]
            beside = level.get(words[1]) == level[part] and level[part] not in STRANGERS
            if not (below or beside or words[1] == part):
                found.append(f"{part} imports {name}")
        elif part in FORBIDDEN.get(words[0], set()):
            found.append(f"{part} imports {words[0]}")
    if any(name.split(".")[0] == "wandb" for name in at_import_time(tree)):
        found.append("wandb is imported at module level")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_keeps_to_its_layer(path):
    part = part_of(path)
    if part in ("__init__", "conf"):
        assert imports(ast.parse(path.read_text())) == []
    else:
        assert broken_rules(part, path.read_text()) == []


@pytest.mark.parametrize(
    ("part", "source", "broken"),
    [
        ("models", "from nucleist.data import Folder", "models imports nucleist.data.Folder"),
        ("data", "import nucleist.metrics", "data imports nucleist.metrics"),
        ("export", "from nucleist import models", "export imports nucleist.models"),
        (
            "ops",
            "def f():\n    from nucleist.data import images",
            "ops imports nucleist.data.formats.images",
        ),
        (
            "task",
            "from nucleist.config.compose import build",
            "task imports nucleist.config.compose.build",
        ),
        (
            "types",
            "from nucleist.ops.labels import relabel",
            "types imports nucleist.ops.labels.relabel",
        ),
        ("data", "from ..models import mask_rcnn", "relative import ..models.mask_rcnn"),
        ("data", "import hydra.utils", "data imports hydra"),
        ("runs", "if 1:\n    from omegaconf import OmegaConf", "runs imports omegaconf"),
        ("models", "import pytorch_lightning as pl", "models imports pytorch_lightning"),
        ("task", "import lightning.pytorch", "task imports lightning"),
        ("ops", "from pathlib import Path", "ops imports pathlib"),
        ("cli", "try:\n    import wandb\nexcept ImportError: pass", "wandb is imported at module"),
        ("callbacks", "class A:\n    import wandb.sdk", "wandb is imported at module level"),
    ],
)
def test_a_broken_rule_is_found(part, source, broken):
    found = broken_rules(part, source)
    assert len(found) == 1 and found[0].startswith(broken)


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("models", "from nucleist.ops.centers import decode\nfrom nucleist.types import UserError"),
        (
            "data",
            "from nucleist.data.formats.archive import FileTree\nimport pytorch_lightning as pl",
        ),
        (
            "task",
            "from nucleist.metrics import InstanceScores\nfrom nucleist.data.module import Batch",
        ),
        ("callbacks", "from nucleist.training.task import ramp\ndef f():\n    import wandb"),
        (
            "cli",
            "import hydra\nfrom nucleist import __version__\nfrom nucleist.training.run import write_json",
        ),
    ],
)
def test_what_is_allowed_is_not_found(part, source):
    assert broken_rules(part, source) == []


def test_every_part_has_a_layer():
    parts = {part_of(path) for path in MODULES} - {"__init__", "conf"}
    assert parts <= set().union(*LAYERS)


def test_files_stay_short():
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text().splitlines())
        for path in PACKAGE.rglob("*")
        if path.suffix in (".py", ".yaml")
    }
    assert len(lengths) > len(MODULES) > 10
    assert {name: length for name, length in lengths.items() if length > 300} == {}
