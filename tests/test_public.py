"""The public names: imported when they are used, and the same for people and for type checkers."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import nucleist


def test_every_public_name_is_where_it_is_said_to_be() -> None:
    for name in nucleist.__all__:
        assert getattr(nucleist, name) is not None
        assert name in dir(nucleist)
    for name, home in nucleist._HOMES.items():
        assert getattr(importlib.import_module(home), name) is getattr(nucleist, name)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(nucleist.__file__).read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == nucleist._HOMES


def test_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import nucleist; "
        "print(time.perf_counter() - start); "
        "print(sorted({'torch', 'numpy', 'hydra', 'omegaconf', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 0.3


def test_a_name_that_is_not_there() -> None:
    try:
        nucleist.outline  # noqa: B018
    except AttributeError as error:
        assert "outline" in str(error)
    else:
        raise AssertionError
