"""A virtual clock moves only by hand, and runs what falls due in order."""

from __future__ import annotations

import asyncio

import pytest

from puckstream.actors.actor import Actor
from puckstream.clock import Clock
from puckstream.node import Node
from puckstream.testing.clock import VirtualClock


class Ticker(Actor):
    """Tells itself to go on every second."""

    def __init__(self, ticks: list[float], clock: VirtualClock) -> None:
        super().__init__()
        self.ticks, self.clock = ticks, clock

    def on_start(self) -> None:
        self.send_after(1.0, "tick")

    def on_receive(self, message: object) -> None:
        self.ticks.append(self.clock.now())
        self.send_after(1.0, "tick")


def test_it_is_a_clock() -> None:
    clock: Clock = VirtualClock(start=5.0)
    assert clock.now() == 5.0


def test_callbacks_run_in_the_order_they_fall_due_and_see_their_own_time() -> None:
    clock = VirtualClock()
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, clock.now()))

    clock.call_later(2.0, note, "late")
    clock.call_later(1.0, note, "first")
    clock.call_later(1.0, note, "second")
    clock.advance(1.5)
    assert seen == [("first", 1.0), ("second", 1.0)]
    assert clock.now() == 1.5
    assert clock.delays == [0.5]
    clock.advance(0.5)
    assert seen[2:] == [("late", 2.0)]
    assert repr(clock) == "<VirtualClock at 2 s, 0 pending>"


def test_a_callback_asked_for_by_a_callback_runs_if_it_falls_due_as_well() -> None:
    clock = VirtualClock()
    seen: list[float] = []

    def again() -> None:
        seen.append(clock.now())
        clock.call_later(1.0, again)

    clock.call_later(1.0, again)
    clock.advance(3.5)
    assert seen == [1.0, 2.0, 3.0]


def test_a_cancelled_callback_does_not_run_also_when_cancelled_at_its_due_time() -> None:
    clock = VirtualClock()
    seen: list[str] = []
    clock.call_later(1.0, lambda: victim.cancel())  # noqa: PLW0108  # there is no victim yet
    victim = clock.call_later(1.0, seen.append, "never")
    clock.call_later(1.0, seen.append, "other")
    clock.advance(1.0)
    victim.cancel()
    assert seen == ["other"]


def test_time_does_not_go_back() -> None:
    clock = VirtualClock(3.0)
    with pytest.raises(ValueError, match="does not go back by 1 seconds"):
        clock.advance(-1)
    assert clock.now() == 3.0


def test_an_exception_of_a_callback_leaves_the_clock_at_its_due_time() -> None:
    clock = VirtualClock()
    seen: list[str] = []
    clock.call_later(1.0, [].pop)
    clock.call_later(2.0, seen.append, "later")
    with pytest.raises(IndexError):
        clock.advance(5.0)
    assert clock.now() == 1.0
    clock.advance(4.0)
    assert seen == ["later"]


async def test_elapse_lets_actors_react_at_every_step() -> None:
    clock = VirtualClock()
    ticks: list[float] = []
    async with Node(clock=clock) as node:
        await node.spawn(Ticker, ticks, clock)
        await clock.elapse(3.5)
        assert ticks == [1.0, 2.0, 3.0]
        assert clock.now() == 3.5
        clock.advance(2.0)
        await clock.settle()
        assert ticks[3:] == [5.5]


async def test_settle_returns_when_the_loop_has_nothing_left_to_run() -> None:
    seen: list[int] = []

    async def count() -> None:
        for number in range(1000):
            await asyncio.sleep(0)
            seen.append(number)

    task = asyncio.ensure_future(count())
    await VirtualClock.settle()
    assert len(seen) == 1000
    await task


async def test_settle_says_so_if_the_loop_never_comes_to_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("puckstream.testing.clock.TURNS", 50)
    loop = asyncio.get_running_loop()
    stopped = False

    def again() -> None:
        if not stopped:
            loop.call_soon(again)

    again()
    with pytest.raises(RuntimeError, match="not come to rest within 50 turns"):
        await VirtualClock.settle()
    stopped = True
