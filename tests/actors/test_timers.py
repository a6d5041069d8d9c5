"""Deadlines: many calls, few timers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.reply import Reply
from puckstream.actors.timers import Deadlines
from puckstream.errors import CallTimeout
from puckstream.testing.clock import VirtualClock

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

REF: ActorRef[Any] = "an actor"  # type: ignore[assignment]  # it is only named


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def deadlines(clock: VirtualClock) -> Deadlines:
    return Deadlines(clock)


def add(deadlines: Deadlines, timeout: float) -> Reply[Any]:
    reply: Reply[Any] = Reply()
    deadlines.add(reply, timeout, REF)
    return reply


def test_each_reply_fails_when_its_own_time_is_over(
    deadlines: Deadlines, clock: VirtualClock
) -> None:
    first = add(deadlines, 5.0)
    clock.advance(2.0)
    second, short = add(deadlines, 5.0), add(deadlines, 1.0)
    clock.advance(1.0)
    assert (first.done, second.done, short.done) == (False, False, True)
    clock.advance(2.0)
    assert (first.done, second.done) == (True, False)
    clock.advance(2.0)
    with pytest.raises(CallTimeout, match=r"an actor did not reply within 5\.0 seconds"):
        second.get()


def test_calls_with_the_same_timeout_share_a_timer(
    deadlines: Deadlines, clock: VirtualClock
) -> None:
    for _ in range(100):
        add(deadlines, 5.0)
        clock.advance(0.01)
    assert len(clock.delays) == 1


def test_an_answered_call_is_left_alone_and_its_timer_ends(
    deadlines: Deadlines, clock: VirtualClock
) -> None:
    reply = add(deadlines, 5.0)
    reply.set("in time")
    clock.advance(5.0)
    assert reply.get() == "in time"
    assert clock.delays == []


def test_answered_calls_are_forgotten_long_before_their_time(
    deadlines: Deadlines, clock: VirtualClock
) -> None:
    for _ in range(1000):
        add(deadlines, 5.0).set()
    assert len(deadlines._queues[5.0]) < 50


def test_a_slow_call_keeps_no_answered_ones_in_memory(
    deadlines: Deadlines, clock: VirtualClock
) -> None:
    slow = add(deadlines, 5.0)
    for _ in range(10_000):
        add(deadlines, 5.0).set()
    assert len(deadlines._queues[5.0]) < 3000
    clock.advance(5.0)
    assert slow.done


def test_no_reply_fails_early_when_a_timer_fires_early() -> None:
    """A loop's timers may, by a tick of its clock."""

    class Hasty(VirtualClock):
        hurry = 0.01

        def call_later(self, delay: float, callback: Any, *args: Any) -> Any:
            hurry, self.hurry = self.hurry, 0.0
            return super().call_later(delay - hurry, callback, *args)

    clock = Hasty()
    reply = add(Deadlines(clock), 5.0)
    clock.advance(4.995)
    assert not reply.done
    clock.advance(0.005)
    assert reply.done


def test_a_timeout_that_is_over_already_fails_at_the_next_tick(
    deadlines: Deadlines, clock: VirtualClock
) -> None:
    reply, negative = add(deadlines, 0.0), add(deadlines, -1.0)
    clock.advance(0.0)
    assert (reply.done, negative.done) == (True, True)


def test_closing_forgets_every_deadline(deadlines: Deadlines, clock: VirtualClock) -> None:
    reply = add(deadlines, 5.0)
    deadlines.close()
    assert clock.delays == []
    clock.advance(10.0)
    assert not reply.done


def test_a_late_reply_is_dropped(deadlines: Deadlines, clock: VirtualClock) -> None:
    reply = add(deadlines, 5.0)
    clock.advance(5.0)
    assert not reply._resolve("late")
    with pytest.raises(CallTimeout):
        reply.get()
