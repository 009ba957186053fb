"""What a stored configuration may call, part by part, and what trust adds."""

from pathlib import Path

import pytest
import yaml

import nucleist.conf
from nucleist.config.targets import check_targets, is_trusted, known_targets, targets_in
from nucleist.types import UserError

CONF = Path(next(iter(nucleist.conf.__path__)))
NET = "nucleist.models.mask_rcnn"


def test_every_part_knows_what_its_files_call_and_no_more() -> None:
    assert {NET, "nucleist.models.dist", "nucleist.models.compact_fpn"} <= known_targets("model")
    assert "nucleist.data.BBBC038" in known_targets("data")
    assert "nucleist.data.BBBC038" not in known_targets("model")
    assert NET not in known_targets("data")
    assert "torch.optim.AdamW" in known_targets("optim")
    assert known_targets("no_such_part") == frozenset()
    assert known_targets("augment") | known_targets("normalize") <= known_targets("data")


@pytest.mark.parametrize("path", sorted((CONF / "model").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_model_of_ours_is_known(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    check_targets({"model": content.get("model", content)}, path)


@pytest.mark.parametrize(
    ("part", "node", "target"),
    [
        ("model", {"_target_": "os.system", "command": "touch x"}, "os.system"),
        ("model", {"_target_": NET, "backbone": {"_target_": "os.getcwd"}}, "os.getcwd"),
        ("model", {"_target_": NET, "a": [[{"b": {"_target_": "os.getcwd"}}]]}, "os.getcwd"),
        ("model", {"a": {"_target_": "os.getcwd"}}, "os.getcwd"),
        ("model", {"_target_": "nucleist.data.BBBC038"}, "nucleist.data.BBBC038"),
        ("model", {"_target_": "nucleist.files.write_text"}, "nucleist.files.write_text"),
        ("model", {"_target_": "${oc.env:NET}"}, "${oc.env:NET}"),
        ("model", {"_target_": 3}, "3"),
        ("data", {"source": {"_target_": NET}}, NET),
        ("normalize", {"_target_": "builtins.exec"}, "builtins.exec"),
        ("made_up", {"_target_": NET}, NET),
    ],
)
def test_anything_else_is_refused(part: str, node: object, target: str) -> None:
    with pytest.raises(UserError) as error:
        check_targets({"name": "x", "seed": 0, part: node}, "a.ckpt")
    assert str(error.value).startswith(f"a.ckpt: calls {target!r} as {part}, ")


def test_trust_is_for_whole_packages() -> None:
    node = {"_target_": NET, "backbone": {"_target_": "mine.nets.body"}}
    with pytest.raises(UserError, match=r"if you trust that code, add trust=mine$"):
        check_targets({"model": node}, "a.ckpt")
    check_targets({"model": node}, "a.ckpt", "mine")
    check_targets({"model": node}, "a.ckpt", ["other", "mine"])
    check_targets({"model": node}, "a.ckpt", "mine.nets")
    for other in ("min", "mine.net", "mine.nets.body.x", "", ("m", "i", "n", "e")):
        with pytest.raises(UserError, match=r"mine\.nets\.body"):
            check_targets({"model": node}, "a.ckpt", other)
    node["backbone"] = {"_target_": "os.getcwd"}
    with pytest.raises(UserError, match=r"os\.getcwd"):
        check_targets({"model": node}, "a.ckpt", "mine")


def test_a_package_is_no_prefix_of_letters() -> None:
    assert is_trusted("mine.nets.body", ["mine"])
    assert not is_trusted("mineral.nets", ["mine"]) and not is_trusted("mine", ["mine"])


def test_targets_are_found_at_any_depth() -> None:
    node = {"_target_": "a", "x": [{"_target_": "b"}, [{"y": {"_target_": "c"}}]], "z": "_target_"}
    assert list(targets_in(node)) == ["a", "b", "c"]
    assert list(targets_in("text")) == list(targets_in(None)) == []
