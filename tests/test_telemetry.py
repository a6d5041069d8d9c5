"""Telemetry: attaching and detaching handlers, and what a handler cannot disturb.

What is told under which fault is in tests/streams/test_witness.py.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

import puckstream as puck
from puckstream.telemetry import (
    ChunkArrived,
    FirstChunk,
    StreamCancelled,
    StreamStarted,
    StreamStopped,
    Telemetry,
)

REQUEST = contextvars.ContextVar("request", default="none")


async def two(emit: Any) -> None:
    emit("a")
    emit("b")


async def endless(emit: Any) -> None:
    emit("a")
    await asyncio.Event().wait()


def kinds(records: list[Any]) -> list[str]:
    return [type(record).__name__ for record in records]


async def test_an_attached_handler_is_told_of_a_stream_from_start_to_end() -> None:
    records: list[Any] = []
    async with puck.Node() as node:
        node.telemetry.attach(records.append)
        stream = await node.start_stream(two, stream_id="one")
        await stream.wait()
    assert kinds(records) == ["StreamStarted", "FirstChunk", "StreamStopped"]
    assert {record.stream_id for record in records} == {"one"}
    assert {record.run for record in records} == {1}


async def test_chunks_are_told_only_to_those_who_ask_for_them() -> None:
    every: list[Any] = []
    ends: list[Any] = []
    async with puck.Node() as node:
        node.telemetry.attach(every.append, chunks=True)
        node.telemetry.attach(ends.append)
        await (await node.start_stream(two)).wait()
    assert kinds(every) == ["StreamStarted", "FirstChunk", "ChunkArrived", "StreamStopped"]
    assert kinds(ends) == ["StreamStarted", "FirstChunk", "StreamStopped"]


async def test_a_handler_sees_both_ends_of_a_stream_or_neither() -> None:
    early: list[Any] = []
    late: list[Any] = []
    async with puck.Node() as node:
        before = await node.start_stream(endless, stream_id="before")
        node.telemetry.attach(early.append)
        during = await node.start_stream(endless, stream_id="during")
        node.telemetry.attach(late.append)
        after = await node.start_stream(endless, stream_id="after")
        for stream in (before, during, after):
            await stream.cancel()
    ends = [record.stream_id for record in early if isinstance(record, StreamCancelled)]
    assert ends == ["during", "after"]
    assert {record.stream_id for record in late} == {"after"}


async def test_what_is_detached_is_told_nothing_more() -> None:
    records: list[Any] = []
    async with puck.Node() as node:
        detach = node.telemetry.attach(records.append)
        stream = await node.start_stream(endless)
        detach()
        detach()
        await stream.cancel()
    assert kinds(records) == ["StreamStarted"]
    assert repr(node.telemetry) == "<Telemetry: 0 handlers>"


async def test_attached_twice_a_handler_is_called_twice_and_detached_one_by_one() -> None:
    records: list[Any] = []
    async with puck.Node() as node:
        detach = node.telemetry.attach(records.append)
        node.telemetry.attach(records.append)
        await (await node.start_stream(two)).wait()
        assert kinds(records)[:2] == ["StreamStarted", "StreamStarted"]
        detach()
        records.clear()
        await (await node.start_stream(two)).wait()
    assert kinds(records) == ["StreamStarted", "FirstChunk", "StreamStopped"]


@pytest.mark.parametrize(
    "error", [ValueError("odd"), SystemExit(1), asyncio.CancelledError(), KeyboardInterrupt()]
)
async def test_12_a_handler_that_raises_is_reported_once_and_disturbs_nobody(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    records: list[Any] = []

    def broken(_record: Any) -> None:
        raise error

    async with puck.Node() as node:
        node.telemetry.attach(broken, chunks=True)
        node.telemetry.attach(records.append)
        for _ in range(2):
            stream = await node.start_stream(two)
            assert (await stream.result()).content == "ab"
    assert kinds(records) == 2 * ["StreamStarted", "FirstChunk", "StreamStopped"]
    said = [entry for entry in caplog.records if entry.name == "puckstream.telemetry"]
    assert [entry.levelno for entry in said] == [logging.ERROR]
    assert "StreamStarted" in said[0].getMessage()


async def test_a_handler_that_returns_a_coroutine_is_reported_and_warns_of_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def later() -> None:
        pass

    def plain(_record: Any) -> Any:
        return later()

    async with puck.Node() as node:
        node.telemetry.attach(plain)
        await (await node.start_stream(two)).wait()
    assert "failed at a StreamStarted" in caplog.text


class Awaited:
    async def __call__(self, record: Any) -> None:
        pass


async def coroutine(record: Any) -> None:
    pass


@pytest.mark.parametrize("handler", [None, "handler", coroutine, Awaited()])
def test_what_is_no_plain_function_is_refused_by_name(handler: Any) -> None:
    with pytest.raises(puck.InvalidOption, match="handler="):
        Telemetry().attach(handler)


def test_chunks_is_true_or_false() -> None:
    with pytest.raises(puck.InvalidOption, match="chunks='all'"):
        Telemetry().attach(print, chunks="all")  # type: ignore[arg-type]


async def test_the_start_is_told_in_the_context_of_whoever_started_the_stream() -> None:
    seen: list[tuple[str, str]] = []

    def handler(record: Any) -> None:
        seen.append((type(record).__name__, REQUEST.get()))
        REQUEST.set("changed by the handler")

    async with puck.Node() as node:
        node.telemetry.attach(handler)
        REQUEST.set("mine")
        await (await node.start_stream(two)).wait()
        assert REQUEST.get() == "mine"
    assert seen[0] == ("StreamStarted", "mine")


def test_the_context_of_a_thread_that_starts_a_stream_is_the_handlers_too() -> None:
    seen: list[str] = []

    def handler(record: Any) -> None:
        if isinstance(record, StreamStarted):
            seen.append(REQUEST.get())

    def start(node: puck.Node, name: str) -> None:
        REQUEST.set(name)
        node.start_stream(two).get().wait().get()

    with puck.Node() as node:
        node.telemetry.attach(handler)
        threads = [threading.Thread(target=start, args=(node, f"t{n}")) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert sorted(seen) == ["t0", "t1", "t2", "t3"]


async def test_a_handler_may_cancel_the_stream_whose_start_it_is_told() -> None:
    """What it causes is told to everybody after what it is being told."""
    records: list[Any] = []
    async with puck.Node() as node:

        def refuse(record: Any) -> None:
            if isinstance(record, StreamStarted):
                node.cancel(record.stream_id)

        node.telemetry.attach(refuse)
        node.telemetry.attach(records.append)
        stream = await node.start_stream(two)
        assert (await stream.wait()).kind == "cancelled"
    assert kinds(records) == ["StreamStarted", "StreamCancelled"]


async def test_a_handler_may_start_streams_and_detach_itself() -> None:
    records: list[Any] = []
    async with puck.Node() as node:

        def handler(record: Any) -> None:
            records.append(record)
            if isinstance(record, StreamStopped):
                detach()
                node.start_stream(two)

        detach = node.telemetry.attach(handler)
        await (await node.start_stream(two)).wait()
    assert kinds(records) == ["StreamStarted", "FirstChunk", "StreamStopped"]


async def test_a_record_is_frozen_and_shows_nothing_of_what_was_said() -> None:
    records: list[Any] = []
    async with puck.Node() as node:
        node.telemetry.attach(records.append, chunks=True)
        context = puck.Context().user("a secret")
        await (await node.start_stream(two, context=context)).wait()
    shown = repr(records)
    assert "secret" not in shown
    assert "'ab'" not in shown
    with pytest.raises(FrozenInstanceError):
        records[0].run = 7
    assert isinstance(records[1], FirstChunk)
    assert isinstance(records[2], ChunkArrived)


async def test_attaching_works_before_the_node_is_entered_and_from_any_thread() -> None:
    records: list[Any] = []
    node = puck.Node()
    node.telemetry.attach(records.append)
    others: list[Any] = []
    async with node:
        await asyncio.to_thread(node.telemetry.attach, others.append)
        await (await node.start_stream(two)).wait()
    assert kinds(records) == kinds(others) == ["StreamStarted", "FirstChunk", "StreamStopped"]


async def test_no_record_shows_the_message_of_an_error() -> None:
    async def crash(emit: Any) -> None:
        emit("a")
        raise ValueError("SECRET")

    records: list[Any] = []
    async with puck.Node() as node:
        node.telemetry.attach(records.append)
        await (await node.start_stream(crash)).wait()
    assert "error=<StreamError crashed>" in repr(records[-1])
    assert "SECRET" not in repr(records)
