"""What a person or a model does to a picture: each command as the things it changes.

A change is a list of `(id, before, after)`, None where a thing is not there. It holds all that is
needed to do it again and to undo it, exactly.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nucleist.annotation import geometry
from nucleist.annotation.things import FEWEST, Point, Thing, corners, outline
from nucleist.types import UserError

Change = list[tuple[str, Thing | None, Thing | None]]
Things = Mapping[str, Thing]
Command = Mapping[str, Any]

MOST_IDS = 100_000


@dataclass(frozen=True)
class Stamp:
    """Who does something to which picture, and when.

    Attributes:
        who: Name of the person or the tool.
        when: UTC, ISO 8601.
        size: Height and width of the image, pixels.
    """

    who: str
    when: str
    size: tuple[int, int]


def change_of(things: Things, command: Command, stamp: Stamp) -> Change:
    """What a command changes; nothing is changed yet.

    Args:
        things: What lies on the picture, by id.
        command: `do`, the name of one of `COMMANDS`, and its fields.
        stamp: Put on what is changed.

    Raises:
        UserError: If there is no such command, a field is missing or wrong, or it cannot be done.
    """
    name = command.get("do")
    if name not in COMMANDS:
        raise UserError(f"there is no command {name!r}; use one of {', '.join(COMMANDS)}")
    try:
        pairs = COMMANDS[name](things, command, stamp)
    except KeyError as error:
        raise UserError(f"{name}: needs {error}") from error
    stamped = [(old, new and _stamped(new, stamp)) for old, new in pairs]
    return [((old or new).id, old, new) for old, new in stamped if old or new]  # type: ignore[union-attr]


def inverse(change: Change) -> Change:
    """The change that takes another one back."""
    return [(one, after, before) for one, before, after in reversed(change)]


def _stamped(thing: Thing, stamp: Stamp) -> Thing:
    return replace(thing, who=stamp.who, when=stamp.when)


Pairs = list[tuple[Thing | None, Thing | None]]


def _add(things: Things, command: Command, stamp: Stamp) -> Pairs:
    anchors = outline(command["anchors"])
    if geometry.shape_of(anchors, stamp.size) is None:
        raise UserError("an outline that holds no pixel of the image; draw inside it")
    given = str(command.get("id") or uuid.uuid4())
    try:
        own = str(uuid.UUID(given))
    except ValueError as error:
        raise UserError(f"id={given}: no UUID") from error
    if own in things:
        raise UserError(f"id={own}: is there already")
    return [(None, Thing(own, "nucleus", anchors))]


def _region(things: Things, command: Command, stamp: Stamp) -> Pairs:
    (x0, y0), (x1, y1) = corners(command["corners"])
    height, width = stamp.size
    cut = [(max(x0, 0), max(y0, 0)), (min(x1, width), min(y1, height))]
    return [(None, Thing(str(uuid.uuid4()), "region", corners(cut)))]


def _whole(things: Things, command: Command, stamp: Stamp) -> Pairs:
    """All is outlined; or, said again, this is taken back."""
    height, width = stamp.size
    old: Pairs = [(thing, None) for thing in things.values() if thing.kind == "region"]
    if is_whole(things.values(), stamp.size):
        return old
    return [*old, (None, Thing(str(uuid.uuid4()), "region", corners([(0, 0), (width, height)])))]


def is_whole(things: Iterable[Thing], size: tuple[int, int]) -> bool:
    """Whether one region covers the image."""
    whole = ((0.0, 0.0), (float(size[1]), float(size[0])))
    return any(thing.kind == "region" and thing.anchors == whole for thing in things)


def _one(things: Things, command: Command) -> Thing:
    return _some(things, [command["id"]])[0]


def _some(things: Things, ids: Any, kind: str = "nucleus") -> list[Thing]:
    if not isinstance(ids, list) or not 0 < len(ids) <= MOST_IDS:
        raise UserError("ids: give a list of one or more")
    found = [things.get(one) for one in dict.fromkeys(map(str, ids))]
    if any(thing is None or (kind and thing.kind != kind) for thing in found):
        raise UserError("one of these is not there any more; reload the picture")
    return [thing for thing in found if thing]


def _place(thing: Thing, command: Command) -> int:
    at = command["anchor"]
    if not isinstance(at, int) or not 0 <= at < len(thing.anchors):
        raise UserError(f"anchor={at}: the outline has {len(thing.anchors)}, counted from 0")
    return at


def _reshaped(thing: Thing, anchors: Sequence[Point]) -> Pairs:
    return [(thing, thing.with_anchors(outline(anchors)))]


def _move_anchor(things: Things, command: Command, stamp: Stamp) -> Pairs:
    thing = _one(things, command)
    at = _place(thing, command)
    return _reshaped(thing, [*thing.anchors[:at], command["to"], *thing.anchors[at + 1 :]])


def _insert_anchor(things: Things, command: Command, stamp: Stamp) -> Pairs:
    thing = _one(things, command)
    at = _place(thing, command) + 1
    return _reshaped(thing, [*thing.anchors[:at], command["to"], *thing.anchors[at:]])


def _delete_anchor(things: Things, command: Command, stamp: Stamp) -> Pairs:
    thing = _one(things, command)
    at = _place(thing, command)
    if len(thing.anchors) <= FEWEST:
        raise UserError(f"an outline needs {FEWEST} points; delete the nucleus instead")
    return _reshaped(thing, [*thing.anchors[:at], *thing.anchors[at + 1 :]])


def _reshape(things: Things, command: Command, stamp: Stamp) -> Pairs:
    return _reshaped(_one(things, command), command["anchors"])


def _move(things: Things, command: Command, stamp: Stamp) -> Pairs:
    try:
        dx, dy = map(float, command["by"])
    except (TypeError, ValueError) as error:
        raise UserError("by: give two numbers") from error
    thing = _one(things, command)
    return _reshaped(thing, [(x + dx, y + dy) for x, y in thing.anchors])


def _delete(things: Things, command: Command, stamp: Stamp) -> Pairs:
    return [(thing, None) for thing in _some(things, command["ids"], kind="")]


def _merge(things: Things, command: Command, stamp: Stamp) -> Pairs:
    parts = _some(things, command["ids"])
    if len(parts) < 2:
        raise UserError("one nucleus alone; choose two or more to merge")
    anchors = geometry.joined([part.anchors for part in parts])
    if anchors is None:
        raise UserError("nothing to merge inside the image")
    kept = _changed(parts[0], anchors)
    return [(parts[0], kept), *((part, None) for part in parts[1:])]


def _cut(things: Things, command: Command, stamp: Stamp) -> Pairs:
    thing = _one(things, command)
    line = command["line"]
    try:
        (x0, y0), (x1, y1) = [(float(x), float(y)) for x, y in line]
    except (TypeError, ValueError) as error:
        raise UserError("line: give two points") from error
    parts = geometry.cut(thing.anchors, [(x0, y0), (x1, y1)])
    if len(parts) != 2 or not math.hypot(x1 - x0, y1 - y0):
        raise UserError("the line does not cut this nucleus; draw it across")
    kept, new = (_changed(thing, part) for part in parts)
    return [(thing, kept), (None, replace(new, id=str(uuid.uuid4())))]


def _changed(thing: Thing, anchors: Sequence[Point]) -> Thing:
    return thing.with_anchors(outline(anchors))


def _accept(things: Things, command: Command, stamp: Stamp) -> Pairs:
    return _settled(_some(things, command["ids"]), "labelled")


def _reject(things: Things, command: Command, stamp: Stamp) -> Pairs:
    return _settled(_some(things, command["ids"]), "rejected")


def _settled(found: Sequence[Thing], state: Any) -> Pairs:
    """Proposals with their new state; what is settled already stays."""
    return [(one, replace(one, state=state)) for one in found if one.state == "proposed"]


def _accept_above(things: Things, command: Command, stamp: Stamp) -> Pairs:
    score = command["score"]
    if not isinstance(score, int | float) or not 0 <= score <= 1:
        raise UserError(f"score={score}: give a number from 0 to 1")
    return _settled([one for one in things.values() if one.score >= score], "labelled")


COMMANDS: dict[Any, Callable[[Things, Command, Stamp], Pairs]] = {
    "add": _add,
    "move_anchor": _move_anchor,
    "insert_anchor": _insert_anchor,
    "delete_anchor": _delete_anchor,
    "reshape": _reshape,
    "move": _move,
    "delete": _delete,
    "merge": _merge,
    "cut": _cut,
    "accept": _accept,
    "reject": _reject,
    "accept_above": _accept_above,
    "region": _region,
    "whole": _whole,
}
"""What a page or a script may ask for, by name; `undo` and `redo` besides."""
