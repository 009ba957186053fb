"""Events: in order, replayed after a break, said to be lost if too many were missed."""

import asyncio

from nucleist.annotation.server import events


async def heard(stream, count):
    return [(await asyncio.wait_for(anext(stream), 5)).decode() for _ in range(count)]


def test_they_come_in_order_and_are_replayed():
    async def run():
        told = events.Events()
        early = told.stream(None)
        assert "event: hello" in (await heard(early, 1))[0]
        for number in range(3):
            await told.tell("change", number=number)
        found = await heard(early, 3)
        assert [f'"number": {n}' in part for n, part in enumerate(found)] == [True] * 3
        again = await heard(told.stream(1), 3)
        assert "event: hello" in again[0] and "id: 2" in again[1] and "id: 3" in again[2]

    asyncio.run(run())


def test_what_was_lost_is_said(monkeypatch):
    monkeypatch.setattr(events, "KEPT", 2)

    async def run():
        told = events.Events()
        for _ in range(5):
            await told.tell("change")
        for seen in (1, 99):  # too long ago; of a server before this one
            assert "event: reset" in (await heard(told.stream(seen), 1))[0]

    asyncio.run(run())


def test_a_quiet_stream_pings(monkeypatch):
    monkeypatch.setattr(events, "PING", 0)
    monkeypatch.setattr(events, "SLICE", 0.01)

    async def run():
        assert (await heard(events.Events().stream(None), 2))[1] == ": still here\n\n"

    asyncio.run(run())


def test_a_closed_stream_ends():
    async def run():
        told = events.Events()
        stream = told.stream(None)
        await heard(stream, 1)
        told.closed = True
        assert [part async for part in stream] == []

    asyncio.run(run())
