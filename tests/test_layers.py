"""The house: which room may import which, read from the syntax tree of every file."""

import ast
from itertools import combinations
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "nucleist"
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS = [
    {"types"},
    {"files", "progress", "config", "ops"},
    {"data", "models", "metrics"},
    {"plots"},
    {"distributed"},
    {"inference"},
    {"training"},
    {"evaluation", "sweeps", "annotation"},
    {"report"},
    {"cli"},
    {"__main__"},
]
"""From the ground up. A room may import rooms of lower floors and itself."""

LOOSE = {"types", "files", "progress"}
"""Modules that are no folder."""

FORBIDDEN = {
    "hydra": set().union(*FLOORS) - {"config"},
    "omegaconf": set().union(*FLOORS) - {"config", "training", "evaluation", "sweeps", "report"},
    "pytorch_lightning": {"types", "files", "progress", "config", "ops", "models", "metrics"}
    | {"plots", "cli"},
    "lightning": set().union(*FLOORS),  # pytorch_lightning is what is installed
    "torch": {"cli", "config", "files", "progress"},
    "pathlib": {"ops"},
    "os": {"types", "ops"},
}
"""Libraries, and the rooms that may not use them. `ops` are pure functions: no files."""


def room_of(path: Path) -> str:
    """`data` for `data/readers/kumar.py`, `types` for `types.py`."""
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


def without_type_checking(tree: ast.Module) -> ast.Module:
    """The tree without what only type checkers import."""

    class Strip(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            named = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            return None if named else self.generic_visit(node)

    return Strip().visit(tree)


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


def may_import(importer: str, imported: str) -> bool:
    """Whether a room may import another."""
    floor = {name: number for number, rooms in enumerate(FLOORS) for name in rooms}
    if imported not in floor:
        return False
    return floor[imported] < floor[importer] or imported == importer


def broken_rules(room: str, source: str) -> list[str]:
    """What a source file of a room does that it may not."""
    tree = without_type_checking(ast.parse(source))
    found = []
    for name in imports(tree):
        words = name.split(".")
        if words[0] == "":
            found.append(f"relative import {name}")
        elif words[0] == "nucleist" and words[1:2] not in ([], ["__version__"]):
            if not may_import(room, words[1]):
                found.append(f"{room} imports {name}")
        elif room in FORBIDDEN.get(words[0], set()):
            found.append(f"{room} imports {words[0]}")
    if any(name.split(".")[0] == "wandb" for name in at_import_time(tree)):
        found.append("wandb is imported at module level")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_keeps_to_its_room(path):
    if path.parent.name == "conf":
        assert imports(ast.parse(path.read_text())) == []
    elif path == PACKAGE / "__init__.py":
        tree = without_type_checking(ast.parse(path.read_text()))
        assert {name.split(".")[0] for name in imports(tree)} == {"importlib", "typing"}
    else:
        assert broken_rules(room_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("room", "source", "broken"),
    [
        ("models", "from nucleist.data import Folder", "models imports nucleist.data.Folder"),
        ("data", "import nucleist.metrics", "data imports nucleist.metrics"),
        ("metrics", "from nucleist import models", "metrics imports nucleist.models"),
        ("ops", "def f():\n    from nucleist.data import sets", "ops imports nucleist.data.sets"),
        ("files", "from nucleist.ops import labels", "files imports nucleist.ops.labels"),
        ("sweeps", "from nucleist.evaluation import x", "sweeps imports nucleist.evaluation.x"),
        ("report", "from nucleist.cli.words import read", "report imports nucleist.cli.words.read"),
        ("training", "from nucleist.report import x", "training imports nucleist.report.x"),
        ("types", "from nucleist.ops.labels import a", "types imports nucleist.ops.labels.a"),
        ("data", "from ..models import mask_rcnn", "relative import ..models.mask_rcnn"),
        ("data", "import hydra.utils", "data imports hydra"),
        ("inference", "if 1:\n    from omegaconf import OmegaConf", "inference imports omegaconf"),
        ("models", "import pytorch_lightning as pl", "models imports pytorch_lightning"),
        ("training", "import lightning.pytorch", "training imports lightning"),
        ("cli", "def f():\n    import torch", "cli imports torch"),
        ("ops", "from pathlib import Path", "ops imports pathlib"),
        ("cli", "try:\n    import wandb\nexcept ImportError: pass", "wandb is imported at module"),
        ("training", "class A:\n    import wandb.sdk", "wandb is imported at module level"),
        ("data", "from nucleist.nowhere import x", "data imports nucleist.nowhere.x"),
    ],
)
def test_a_broken_rule_is_found(room, source, broken):
    found = broken_rules(room, source)
    assert len(found) == 1 and found[0].startswith(broken)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("models", "from nucleist.ops.centers import decode\nfrom nucleist.types import UserError"),
        ("data", "from nucleist.data.sets import Draws\nimport pytorch_lightning as pl"),
        ("data", "from nucleist.config.compose import compose"),
        ("training", "from nucleist.metrics import InstanceScores\ndef f():\n    import wandb"),
        ("cli", "from nucleist import __version__\nfrom nucleist.files import write_json"),
        ("config", "import hydra"),
        ("types", "if TYPE_CHECKING:\n    import torch\n    from nucleist.data import Folder"),
    ],
)
def test_what_is_allowed_is_not_found(room, source):
    assert broken_rules(room, source) == []


def test_every_room_has_a_floor_and_every_pair_an_order():
    rooms = {room_of(path) for path in MODULES} - {"__init__", "conf"}
    assert rooms == set().union(*FLOORS)
    assert sum(map(len, FLOORS)) == len(rooms), "a room is on one floor"
    for one, other in combinations(sorted(rooms), 2):
        assert not (may_import(one, other) and may_import(other, one)), (one, other)


def test_few_modules_are_loose():
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert loose == LOOSE and len(loose) <= 3


@pytest.mark.slow
def test_the_command_line_is_small_and_nobody_knows_it():
    lines = sum(len(path.read_text().splitlines()) for path in (PACKAGE / "cli").glob("*.py"))
    assert lines <= 1500
    for path in MODULES:
        if room_of(path) not in ("cli", "__main__"):
            names = imports(ast.parse(path.read_text()))
            assert not [name for name in names if name.startswith("nucleist.cli")], path


def test_files_stay_short():
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text().splitlines())
        for path in PACKAGE.rglob("*")
        if path.suffix in (".py", ".yaml")
    }
    assert len(lengths) > len(MODULES) > 10
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def reached(module: str) -> set[str]:
    """Names that are imported when a module of nucleist is, by it and by those that it imports."""
    files = {path.relative_to(PACKAGE.parent).with_suffix("").parts: path for path in MODULES}
    files = {".".join(p for p in parts if p != "__init__"): f for parts, f in files.items()}
    found, waiting = set(), [module]
    while waiting:
        tree = without_type_checking(ast.parse(files[waiting.pop()].read_text()))
        for name in at_import_time(tree):
            words = name.split(".")
            names = {".".join(words[: n + 1]) for n in range(len(words))} - found
            found |= names
            waiting += names & files.keys()
    return found


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("nucleist.data.catalog", {"torch", "matplotlib"}),  # data list and check
        ("nucleist.report.build", {"torchvision", "torchmetrics", "pytorch_lightning"}),
        ("nucleist.inference.predict", {"torchmetrics", "pytorch_lightning"}),
    ],
)
def test_what_a_verb_does_not_need_it_does_not_wait_for(module, without):
    """Each takes a second or more to import, before the first line appears."""
    assert not reached(module) & without
