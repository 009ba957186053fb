"""The grammar that all verbs share: what you point at, `key=value` settings, `-o` for results.

    nucleist VERB [WHAT ...] [key=value ...] [-o PLACE]

A word with `=` is a setting unless a file of that name exists. The few flags take no value.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nucleist.types import UserError

_SETTING = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@-]*=.*", re.DOTALL)
FILES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".ckpt", ".safetensors")
_DELETION = re.compile(r"~[A-Za-z_][\w.@-]*")


@dataclass
class Words:
    """The words of a command by their meaning.

    Attributes:
        verb: The verb, for messages.
        what: What is pointed at, in order.
        settings: `key=value` words, in order.
        output: What follows `-o`; None without.
        flags: Flags that were given.
    """

    verb: str
    what: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    output: str | None = None
    flags: set[str] = field(default_factory=set)

    def one(self, name: str) -> str:
        """The only thing pointed at.

        Raises:
            UserError: If there is none, or there are several.
        """
        if len(self.what) != 1:
            self.refuse(f"names {len(self.what)} things; give one {name}")
        return self.what[0]

    def some(self, *names: str) -> list[str]:
        """What is pointed at: one word for each name, of the last name one or more.

        Raises:
            UserError: If a name has no word.
        """
        if len(self.what) < len(names):
            self.refuse(f"needs {' '.join(names)}; {names[len(self.what)]} is missing")
        return self.what

    def place(self) -> str:
        """What follows `-o`.

        Raises:
            UserError: If it is missing.
        """
        if self.output is None:
            self.refuse("needs -o FOLDER for its results")
        return str(self.output)

    def take(self, **kinds: Callable[[str], Any]) -> dict[str, Any]:
        """Remove the settings of the verb itself from `settings` and convert them.

        Args:
            **kinds: For each key the function that converts its text; it raises ValueError.

        Returns:
            Values of the keys that were given; of a repeated key the last.

        Raises:
            UserError: If a text is not of its kind.
        """
        found, rest = {}, []
        for word in self.settings:
            key, _, text = word.partition("=")
            if key not in kinds:
                rest.append(word)
                continue
            try:
                found[key] = kinds[key](text)
            except ValueError as error:
                raise UserError(f"{word}: {error}") from error
        self.settings = rest
        return found

    def take_under(self, prefix: str) -> list[str]:
        """The settings whose keys begin with a prefix, without it, removed from `settings`."""
        own = [word for word in self.settings if word.startswith(prefix)]
        self.settings = [word for word in self.settings if word not in own]
        return [word.removeprefix(prefix) for word in own]

    def nothing_left(self, known: Mapping[str, Any]) -> None:
        """Refuse settings that the verb does not have.

        Args:
            known: The keys that it has.

        Raises:
            UserError: If there is one, with the nearest key.
        """
        for word in self.settings:
            key = word.partition("=")[0]
            if "/" in key or looks_like_a_file(word):
                raise UserError(f"{word}: no such file or folder; check the path")
            near = difflib.get_close_matches(key, list(known), 1, 0.5)
            names = f"it has {', '.join(known)}" if known else "it has none"
            hint = f"did you mean {near[0]!r}?" if near else names
            self.refuse(f"has no setting {key!r}; {hint}")

    def no_place(self) -> None:
        """Refuse `-o`, for a verb that writes no files.

        Raises:
            UserError: If it was given.
        """
        if self.output is not None:
            self.refuse("writes no files; leave -o out")

    def refuse(self, message: str) -> None:
        """Raise a `UserError` about this verb."""
        raise UserError(f"{self.verb} {message}; see nucleist {self.verb} --help")


def read(verb: str, arguments: Sequence[str], flags: Sequence[str] = ()) -> Words:
    """Sort the words of a command.

    Args:
        verb: The verb.
        arguments: The words after it.
        flags: Those that the verb takes.

    Raises:
        UserError: For a flag that the verb does not take, or `-o` without a place.
    """
    words, rest = Words(verb), list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("-o", "--output"):
            if not rest:
                words.refuse("needs a place after -o; write -o FOLDER")
            words.output = os.path.expanduser(rest.pop(0))
        elif word.startswith(("-o=", "--output=")):
            words.output = os.path.expanduser(word.partition("=")[2])
        elif word in flags:
            words.flags.add(word)
        elif word.startswith("-") and word != "-" and not os.path.exists(word):
            raise UserError(_not_a_flag(verb, word, rest, flags))
        elif _is_setting(word):
            words.settings.append(word)
        else:
            words.what.append(word)
    return words


def looks_like_a_file(word: str) -> bool:
    """Whether a word ends as the names of images and checkpoints do."""
    return word.lower().endswith(FILES)


def _is_setting(word: str) -> bool:
    matches = _SETTING.fullmatch(word) or _DELETION.fullmatch(word)
    return bool(matches) and not os.path.exists(word)


def _not_a_flag(verb: str, word: str, rest: Sequence[str], flags: Sequence[str]) -> str:
    key, equals, value = word.lstrip("-").partition("=")
    key = key.replace("-", "_")
    if not equals:
        value = rest[0] if rest and not rest[0].startswith("-") else "true"
    known = f"; flags are {', '.join(flags)}" if flags else ""
    return f"{verb}: {word} is not a flag{known}; settings are written {key}={value}"


def wants_help(arguments: Sequence[str]) -> bool:
    """Whether a command asks for its help."""
    return any(word in ("-h", "--help") for word in arguments)


def text(value: str) -> str:
    """A text as it is."""
    return value


def switch(value: str) -> bool:
    """`true` or `false`."""
    if value.lower() not in ("true", "false"):
        raise ValueError("write true or false")
    return value.lower() == "true"


def number(value: str) -> float:
    """A number."""
    try:
        return float(value)
    except ValueError:
        point = re.fullmatch(r"[+-]?\d*,\d+", value)
        hint = f" with a point, {value.replace(',', '.')}" if point else ""
        raise ValueError(f"write a number{hint}") from None


def share(value: str) -> float:
    """A number in [0, 1]."""
    found = number(value)
    if not 0 <= found <= 1:
        raise ValueError("write a number from 0 to 1")
    return found


def count(value: str) -> int:
    """A whole number from 1."""
    if not value.isdecimal() or int(value) < 1:
        raise ValueError("write a whole number from 1")
    return int(value)


def names(value: str) -> list[str]:
    """Words with commas between them."""
    return [part.strip() for part in value.strip("[]").split(",") if part.strip()]
