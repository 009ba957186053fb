"""`nucleist metrics --markdown`: the page in docs/ is what the docstrings say."""

import re
from pathlib import Path

import pytest
from support.runs import said

from nucleist.cli.main import main
from nucleist.metrics.cards import cards

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "all", "--markdown"]) == 0
    page = capsys.readouterr().out
    assert page == PAGE.read_text(encoding="utf-8"), (
        "nucleist metrics all --markdown > docs/metrics.md"
    )
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert headings == [", ".join(card.names) for card in cards()]
    assert page.count("```text") == sum(bool(card.formula) for card in cards()) > 5


def test_one_card_alone_has_nothing_that_markdown_would_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Outside of formulas and code, `_`, `<` and `*` of the text are escaped."""
    assert main(["metrics", "--markdown", "aji"]) == 0
    page = capsys.readouterr().out
    assert page.count("\n## ") == 1 and "\n## aji\n" in page
    prose = re.sub(r"```.*?```|`[^`]*`|\*\*\w+\*\*", "", page.partition("## aji")[2], flags=re.S)
    assert "\\_" in prose and not re.search(r"(?<!\\)[_*<>`]", prose)


def test_an_unknown_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--markdown" in said(capsys, "metrics", "all", "--html")
