"""The routes of the page: images by number, commands and settings as JSON, events as a stream.

Every route has to lie behind `nucleist.annotation.server.gate.Gate`. What reads or writes files
runs in threads, so that the stream of events goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from nucleist.annotation.answer import ConflictError
from nucleist.annotation.rounds import Rounds
from nucleist.annotation.server.events import Events
from nucleist.annotation.server.exports import export
from nucleist.annotation.server.keeper import Keeper
from nucleist.annotation.server.tiles import Tiles
from nucleist.annotation.session import Session
from nucleist.annotation.work import work_list
from nucleist.types import UserError

ASSETS = {"page.js": "text/javascript", "page.css": "text/css", "licences.txt": "text/plain"}
"""Files of the page, and their kinds; no other file is ever sent."""


class Page:
    """What the routes do.

    Args:
        session: The folder.
    """

    def __init__(self, session: Session):
        self.session, self.rounds, self.events = session, Rounds(session), Events()
        self.tiles = Tiles(session)
        self.keeper = Keeper(session, self.rounds, self.events)

    def app(self) -> Starlette:
        """The application without its gate."""
        picture = "/api/images/{index:int}"
        routes = [
            Route("/", self.index),
            Route("/assets/{name}", self.asset),
            Route("/api/images", self.images),
            Route(picture, self.picture),
            Route(picture + "/tiles/{level:int}/{row:int}/{column:int}", self.tile),
            Route(picture + "/work", self.work),
            Route(picture + "/export/{kind}", self.export),
            Route(picture + "/commands", self.command, methods=["POST"]),
            Route("/api/train", self.train, methods=["POST"]),
            Route("/api/cancel", self.cancel, methods=["POST"]),
            Route("/api/events", self.stream),
        ]
        handlers: dict[Any, Any] = {UserError: _refused}
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(self.keeper.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def index(self, request: Request) -> Response:
        """The page itself."""
        return _file("index.html", "text/html")

    async def asset(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params["name"]
        if name not in ASSETS:
            return JSONResponse({"error": "no such file"}, 404)
        return _file(name, ASSETS[name])

    async def images(self, request: Request) -> Response:
        """The list of images, the last round, and what is not saved."""

        def found() -> dict[str, Any]:
            entries = [dataclasses.asdict(entry) for entry in self.session.entries()]
            folder = self.session.folder.resolve()
            return {
                "folder": folder.name,
                "project": hashlib.sha256(str(folder).encode()).hexdigest()[:16],
                "images": entries,
                "round": self.rounds.status(),
                "problems": self.keeper.problems,
            }

        return await _json(found)

    async def picture(self, request: Request) -> Response:
        """All that lies on an image."""
        index = request.path_params["index"]

        def found() -> dict[str, Any]:
            return {**self._state(index), "tiles": self.tiles.about(index)}

        return await _json(found)

    def _state(self, index: int) -> dict[str, Any]:
        picture = self.session.picture(index)
        with picture.lock:
            return {
                "revision": picture.revision,
                "size": picture.size,
                "state": picture.state,
                "things": [one.to_json() for one in picture.things.values()],
                "undo": picture.can_undo,
                "redo": picture.can_redo,
            }

    async def tile(self, request: Request) -> Response:
        """A part of an image, windowed."""
        at, asked = request.path_params, request.query_params
        try:
            low, high = float(asked.get("low", 0)), float(asked.get("high", 255))
            channel = int(asked["channel"]) if asked.get("channel") else None
        except ValueError:
            return JSONResponse({"error": "low, high, channel: give numbers"}, 422)
        if channel not in (None, 0, 1, 2):
            return JSONResponse({"error": "channel: 0, 1 or 2"}, 422)
        where = (at["index"], at["level"], at["row"], at["column"])
        data = await run_in_threadpool(self.tiles.tile, *where, low, high, channel)
        return Response(data, 200, {"cache-control": "private, max-age=3600"}, "image/png")

    async def work(self, request: Request) -> Response:
        """What to look at next."""
        index = request.path_params["index"]
        try:
            threshold = float(request.query_params.get("threshold", 0.5))
        except ValueError:
            return JSONResponse({"error": "threshold: give a number"}, 422)

        def found() -> list[dict[str, Any]]:
            picture = self.session.picture(index)
            with picture.lock:
                things = dict(picture.things)
            return [dataclasses.asdict(item) for item in work_list(things, threshold)]

        return await _json(found)

    async def export(self, request: Request) -> Response:
        """An image's annotation as a file."""
        index, kind = request.path_params["index"], request.path_params["kind"]
        data, name = await run_in_threadpool(export, self.session, index, kind)
        disposition = f"attachment; filename*=UTF-8''{name}"
        headers = {"content-disposition": disposition, "cache-control": "no-store"}
        return Response(data, 200, headers, "application/octet-stream")

    async def command(self, request: Request) -> Response:
        """Do a command; the answer comes when it is on the disk, or says why it is not."""
        index, asked = request.path_params["index"], await _asked(request)
        command, seen = asked.get("command"), asked.get("seen")
        if not isinstance(command, dict) or not isinstance(seen, int):
            raise UserError("give command and seen")
        key, tab = str(asked.get("key", "")), str(asked.get("tab", ""))
        try:
            answer = await run_in_threadpool(self.session.apply, index, command, seen=seen, key=key)
        except ConflictError as error:
            return JSONResponse({"error": str(error), **self._state(index)}, 409)
        picture = self.session.picture(index)
        more = {"undo": picture.can_undo, "redo": picture.can_redo, "state": picture.state}
        told = {**answer.to_json(), **more}
        await self.events.tell("change", index=index, tab=tab, **told)
        self.keeper.touch(answer.problem)
        return JSONResponse(told)

    async def train(self, request: Request) -> Response:
        """Begin a round."""
        asked = await _asked(request)
        steps, anew = asked.get("steps"), bool(asked.get("anew"))
        if not isinstance(steps, int) or not 1 <= steps <= 1_000_000:
            raise UserError(f"steps={steps}: give a whole number from 1")
        every = f"val_every={max(steps // 4, 1)}"
        settings = [f"steps={steps}", every, *self.keeper.settings]
        await run_in_threadpool(self.rounds.start, settings, anew)
        return JSONResponse(await run_in_threadpool(self.rounds.status))

    async def cancel(self, request: Request) -> Response:
        """End the running round."""
        await run_in_threadpool(self.rounds.cancel)
        return JSONResponse(await run_in_threadpool(self.rounds.status))

    async def stream(self, request: Request) -> Response:
        """What happens, as it happens."""
        seen = request.headers.get("last-event-id", "")
        found = self.events.stream(int(seen) if seen.isdecimal() else None)
        return StreamingResponse(found, 200, {"cache-control": "no-store"}, "text/event-stream")


async def _json(found: Callable[[], Any]) -> Response:
    content = await run_in_threadpool(found)
    return JSONResponse(content, headers={"cache-control": "no-store"})


async def _asked(request: Request) -> dict[str, Any]:
    try:
        content = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise UserError(f"broken JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError("give a JSON object")
    return content


def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


def _file(name: str, kind: str) -> Response:
    data = (files("nucleist.annotation.server") / "page" / name).read_bytes()
    return Response(data, 200, {"cache-control": "no-cache"}, kind)
