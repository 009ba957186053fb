"""The card of every metric: what its number means, read from the docstring that defines it.

A metric is a function or class of `nucleist.metrics` whose docstring has a part `Metric:`, with
one `Field: text` each line. Documentation and code cannot differ, because there is only one text.
"""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass

import nucleist.metrics

FIELDS = ("Names", "Matching", "Threshold", "Averages", "Empty", "Range", "Source")
"""The fields of every card, in this order."""

_SECTION = re.compile(r"^(Metric|Args|Returns|Raises|Examples|Attributes):\n", re.MULTILINE)
_MATH = re.compile(r"^\.\. math::(.*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
_AVERAGES = re.compile(r"(_pooled|_per_image)$")
_SIGNS = {
    r"\sum": "sum",
    r"\max": "max",
    r"\cap": "and",
    r"\cup": "or",
    r"\cdot": "*",
    r"\ge": ">=",
    r"\in": "in",
    r"\quad": "\n",
    r"\sqrt": "sqrt",
    r"\,": " ",
    r"\{": "{",
    r"\}": "}",
    r"\\": "",
}


@dataclass(frozen=True)
class Card:
    """The meaning of a metric's number.

    Attributes:
        names: Names in logs and tables, without `_pooled` and `_per_image`.
        title: One line.
        formula: Plain text; empty if there is none.
        notes: Further paragraphs.
        fields: The texts of `FIELDS`, without `Names`.
        function: Dotted name of the function or class that computes it.
    """

    names: tuple[str, ...]
    title: str
    formula: str
    notes: str
    fields: Mapping[str, str]
    function: str


def cards() -> list[Card]:
    """All cards in the order of their names."""
    members = (getattr(nucleist.metrics, name) for name in nucleist.metrics.__all__)
    own = (member for member in members if "Metric:\n" in (member.__doc__ or ""))
    return sorted(map(_read, own), key=lambda card: card.names)


def card_of(column: str) -> Card | None:
    """The card of a column or a log key: of `map` for `val/map_pooled`; None if there is none."""
    name = _AVERAGES.sub("", column.rpartition("/")[2])
    return next((card for card in cards() if name in card.names), None)


def _read(member: object) -> Card:
    doc = inspect.getdoc(member) or ""
    text, *sections = _SECTION.split(doc)
    lines = dict(zip(sections[::2], sections[1::2], strict=True))["Metric"]
    fields = dict(re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", lines, re.MULTILINE))
    fields = {name: _one_line(value) for name, value in fields.items()}
    title, _, rest = text.partition("\n")
    formula = _MATH.search(rest)
    notes = _MATH.sub("", rest).strip()
    return Card(
        names=tuple(name.strip() for name in fields.pop("Names").split(",")),
        title=title,
        formula=plain(formula.group(1)) if formula else "",
        notes="\n\n".join(_prose(part) for part in notes.split("\n\n") if part),
        fields=fields,
        function=f"{member.__module__}.{member.__name__}",  # type: ignore[attr-defined]
    )


def plain(formula: str) -> str:
    r"""A formula of the LaTeX that the docstrings use, as text; `\quad` begins a new line.

    Examples:
        >>> plain(r"\frac{1}{|T|} \sum_{t \in T} \frac{TP_t}{TP_t + FP_t}")
        '1 / |T| sum_(t in T) TP_t / (TP_t + FP_t)'
    """
    text = _one_line(formula)
    text = re.sub(r"([_^])\{(\w+|\*)\}", r"\1\2", text)
    text = re.sub(r"([_^])\{([^{}]*)\}", r"\1(\2)", text)
    text = text.replace(r"\{", "\0").replace(r"\}", "\1")  # of sets, unlike those that group
    while fraction := re.search(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", text):
        above, below = (_bracket(part.strip()) for part in fraction.groups())
        text = f"{text[: fraction.start()]}{above} / {below}{text[fraction.end() :]}"
    text = re.sub(r"\{([^{}]*)\}", r"(\1)", text).replace("\0", r"\{").replace("\1", r"\}")
    for sign, word in _SIGNS.items():
        text = re.sub(re.escape(sign) + ("(?![a-zA-Z])" if sign[-1].isalpha() else ""), word, text)
    return re.sub(r" +(?= \S)| +$", "", re.sub(r", *\n *", "\n", text))


def _bracket(part: str) -> str:
    """Brackets around an expression of several terms or factors."""
    return part if re.fullmatch(r"[\w|.]+", part) else f"({part})"


def _prose(text: str) -> str:
    """A paragraph without markup."""
    text = re.sub(r":math:`([^`]*)`", lambda found: plain(found.group(1)), _one_line(text))
    return text.replace("`", "").replace("**", "")


def _one_line(text: str) -> str:
    return " ".join(text.split())
