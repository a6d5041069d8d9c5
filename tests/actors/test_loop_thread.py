"""The loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading

import pytest

from puckstream.actors.loop_thread import LoopThread


async def where() -> threading.Thread:
    return threading.current_thread()


def test_it_runs_coroutines_on_its_own_thread_and_returns_what_they_return() -> None:
    loop = LoopThread("mine", None)
    thread = loop.run(where())
    assert thread is not threading.current_thread()
    assert thread.name == "puckstream-mine"
    assert not loop.is_current()
    loop.close()


def test_what_a_coroutine_raises_reaches_the_caller_and_the_loop_goes_on() -> None:
    async def fail() -> None:
        raise ValueError("odd")

    loop = LoopThread("mine", None)
    with pytest.raises(ValueError, match="odd"):
        loop.run(fail())
    loop.run(where())
    loop.close()


def test_close_ends_the_thread_and_closes_the_loop_once() -> None:
    made = asyncio.new_event_loop()
    loop = LoopThread("mine", lambda: made)
    thread = loop.run(where())
    loop.close()
    loop.close()
    assert loop.closed
    assert made.is_closed()
    assert not thread.is_alive()


def test_it_knows_its_own_thread() -> None:
    loop = LoopThread("mine", None)

    async def ask() -> bool:
        return loop.is_current()

    assert loop.run(ask())
    loop.close()
