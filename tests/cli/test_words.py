"""The one grammar of all verbs."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import nucleist.cli
from nucleist.cli import words as grammar
from nucleist.cli.main import MODULES, VERBS
from nucleist.cli.words import Words, read
from nucleist.types import UserError

CLI = Path(nucleist.cli.__file__).parent
DATA_VERBS = ("list", "show", "check", "prepare", "download")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with files whose names look like settings and flags."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "dose=3.tif", "~backup", "-x.tif"):
        (tmp_path / name).touch()
    return tmp_path


def line_of(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_words_are_sorted() -> None:
    given = ["model.ckpt", "a.tif", "score_threshold=0.3", "-o", "out", "b c.tif", "overwrite=true"]
    words = read("predict", given)
    assert words.what == ["model.ckpt", "a.tif", "b c.tif"]
    assert words.settings == ["score_threshold=0.3", "overwrite=true"]
    assert (words.output, words.flags, words.verb) == ("out", set(), "predict")


@pytest.mark.parametrize(
    "word",
    [
        *("seed=1", "data.source.root=my images", "model=[1,2]", "+new.key=x", "++a=b", "name="),
        *("~callbacks.speed", "~callbacks", "data@other=kumar", "a=b=c", "text=two\nlines"),
        *("name.bbbc360_25-pa=ours", "list=" + "1," * 2000, "runs=~/runs", "a_b=-3"),
    ],
)
def test_what_is_a_setting(word: str) -> None:
    words = read("train", [word])
    assert words.settings == [word] and words.what == []


@pytest.mark.parametrize(
    "word",
    [
        *("a.tif", "runs/NAME/ID", "./x=y/a.tif", "/data/x=1", "two words", "-", "~/images"),
        *("1=2", "=", "C:\\images", "", "~user/images"),
        *("dose=3.tif", "~backup", "-x.tif"),  # there are such files
    ],
)
def test_what_is_pointed_at(word: str) -> None:
    words = read("predict", [word])
    assert words.what == [word] and words.settings == []


@pytest.mark.parametrize(
    "given", [["-o", "x=1"], ["-o=x=1"], ["--output", "x=1"], ["--output=x=1"]]
)
def test_where_results_go(given: list[str]) -> None:
    words = read("predict", ["m", *given, "n"])
    assert (words.output, words.what, words.settings) == ("x=1", ["m", "n"], [])


def test_flags_are_those_of_the_verb() -> None:
    assert read("train", ["--cfg", "-m"], ("--cfg", "-m")).flags == {"--cfg", "-m"}
    with pytest.raises(UserError) as error:
        read("predict", ["--cfg"])
    assert line_of(error).startswith("predict: --cfg is not a flag; ")


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (["--score-threshold", "0.3"], "settings are written score_threshold=0.3"),
        (["--score-threshold=0.3"], "settings are written score_threshold=0.3"),
        (["--device", "cpu"], "settings are written device=cpu"),
        (["--overwrite"], "settings are written overwrite=true"),
        (["--overwrite", "-o", "out"], "settings are written overwrite=true"),
        (["-n", "3"], "settings are written n=3"),
    ],
)
def test_an_unknown_flag_gets_its_remedy(given: list[str], remedy: str) -> None:
    with pytest.raises(UserError) as error:
        read("predict", given, ("--plan",))
    line = line_of(error)
    assert line.startswith(f"predict: {given[0]} is not a flag; flags are --plan; ")
    assert line.endswith(remedy)


def test_refusals_name_verb_and_remedy() -> None:
    with pytest.raises(UserError, match=r"^predict needs a place after -o; write -o FOLDER; see"):
        read("predict", ["-o"])
    with pytest.raises(UserError, match=r"^predict needs -o FOLDER .*; see nucleist pred"):
        read("predict", ["m"]).place()
    with pytest.raises(UserError, match=r"^predict needs MODEL IMAGES; IMAGES is missing; see"):
        read("predict", ["m"]).some("MODEL", "IMAGES")
    with pytest.raises(UserError, match="names 2 things; give one run folder"):
        read("reproduce", ["a", "b"]).one("run folder")
    with pytest.raises(UserError, match="names 0 things"):
        read("reproduce", []).one("run folder")
    with pytest.raises(UserError, match="metrics writes no files; leave -o out"):
        read("metrics", ["-o", "x"]).no_place()
    assert read("predict", ["m", "a", "b"]).some("MODEL", "IMAGES") == ["m", "a", "b"]


def test_settings_of_a_verb_are_taken_with_their_kinds() -> None:
    words = Words(
        "x", settings=["a=0.5", "b=true", "c=3", "d=p,q", "a=1", "other=1", "e=any=thing"]
    )
    kinds = {"a": grammar.share, "b": grammar.switch, "c": grammar.count, "d": grammar.names}
    found = words.take(**kinds, e=grammar.text)
    assert found == {"a": 1.0, "b": True, "c": 3, "d": ["p", "q"], "e": "any=thing"}
    assert words.settings == ["other=1"]


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (grammar.share, ["1.5", "-0.1", "nan", "x", ""]),
        (grammar.switch, ["1", "yes", ""]),
        (grammar.count, ["0", "-1", "1.5", "x", ""]),
        (grammar.number, ["x", ""]),
    ],
)
def test_a_text_of_another_kind_is_one_line(kind: object, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(UserError, match=f"^key={text}: write ") as error:
            Words("x", settings=[f"key={text}"]).take(key=kind)  # type: ignore[arg-type]
        line_of(error)


def test_settings_below_a_key_are_taken_apart() -> None:
    words = Words("x", settings=["model.roi.a=1", "device=cpu", "model.b=[1]", "modelled=1"])
    assert words.take_under("model.") == ["roi.a=1", "b=[1]"]
    assert words.settings == ["device=cpu", "modelled=1"]


def test_settings_that_are_left_are_refused() -> None:
    Words("predict").nothing_left({})
    words = Words("predict", settings=["score_treshold=0.3"])
    with pytest.raises(UserError, match=r"has no setting 'score_treshold'; did you mean 'score_th"):
        words.nothing_left({"score_threshold": None, "device": None})
    with pytest.raises(UserError, match="has no setting 'score_treshold'; it has zzz; see"):
        words.nothing_left({"zzz": None})
    with pytest.raises(UserError, match="has no setting 'score_treshold'; it has none"):
        words.nothing_left({})


HELP = """
import contextlib, io, json, sys
from nucleist.cli.main import main
found = {}
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = main(words)
    found[" ".join(words)] = [status, printed.getvalue()]
heavy = [name for name in ("torch", "omegaconf", "hydra", "numpy") if name in sys.modules]
print(json.dumps([found, heavy]))
"""


def test_help_of_every_verb_loads_nothing_heavy() -> None:
    asked = [[verb, "--help"] for verb in VERBS] + [["data", verb, "-h"] for verb in DATA_VERBS]
    asked += [["train", "-m", "--help"], ["train", "search=pa", "--help"]]
    asked += [["--help"], [], ["--version"], ["data"], ["predict", "x", "seed=1", "--help"]]
    done = subprocess.run(
        [sys.executable, "-c", HELP, json.dumps(asked)], capture_output=True, text=True, check=True
    )
    found, heavy = json.loads(done.stdout)
    assert heavy == []
    for words, (status, text) in found.items():
        assert status == 0, words
        if words == "--version":
            assert text == f"nucleist {nucleist.__version__}\n"
            continue
        verb = words.split()[0] if words and words[0] != "-" else "VERB"
        assert text.startswith(f"usage: nucleist {verb}"), words
        assert text.endswith("\n") and not text.endswith("\n\n")
        assert max(map(len, text.splitlines())) <= 100
    assert all(f"\n  {verb}" in found["--help"][1] for verb in VERBS)
    assert all(f"\n  {verb}" in found["data --help"][1] for verb in DATA_VERBS)


def test_every_verb_is_a_file_and_shows_an_example() -> None:
    for verb in VERBS:
        text = (CLI / f"{MODULES.get(verb, verb)}.py").read_text(encoding="utf-8")
        assert f"\n  nucleist {verb}" in text


def test_the_command_line_is_small_and_imports_no_torch() -> None:
    lines = 0
    for path in CLI.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        lines += len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            heavy = ("torch", "torchvision", "pytorch_lightning", "hydra", "omegaconf")
            assert not {name.split(".")[0] for name in names} & set(heavy), path
    assert lines <= 1500


def test_help_is_there_at_once() -> None:
    """Half a second is the aim; a loaded machine may take some times longer."""
    command = [sys.executable, "-m", "nucleist", "train", "--help"]
    assert subprocess.run(command, capture_output=True, timeout=5, check=True).stdout
