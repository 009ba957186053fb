"""What becomes of a command, and changes as plain values."""

from dataclasses import dataclass
from typing import Any

from nucleist.annotation.commands import Change
from nucleist.annotation.things import Thing, from_json
from nucleist.types import UserError


class ConflictError(UserError):
    """What a command is about was changed by somebody else since."""


@dataclass(frozen=True)
class Answer:
    """What became of a command.

    Attributes:
        revision: Of the picture now.
        saved: Whether it is on the disk.
        problem: Why not; empty if it is.
        change: What is different now.
    """

    revision: int
    saved: bool
    problem: str
    change: Change

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "revision": self.revision,
            "saved": self.saved,
            "problem": self.problem,
            "change": change_to_json(self.change),
        }


def put_into(things: dict[str, Thing], change: Change) -> None:
    """Do a change."""
    for own, _, after in change:
        if after is None:
            things.pop(own, None)
        else:
            things[own] = after


def change_to_json(change: Change) -> list[list[Any]]:
    """A change as plain lists."""
    return [[own, old and old.to_json(), new and new.to_json()] for own, old, new in change]


def change_from_json(content: list[list[Any]]) -> Change:
    """A change from plain lists."""
    return [(own, old and from_json(old), new and from_json(new)) for own, old, new in content]
