"""Starts that take too long.

Covers S48.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.registry import Registry
from puckstream.actors.signals import KILLED, SHUTDOWN, Down, TimedOut
from puckstream.actors.start import limit_start, start
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import InvalidOption, InvalidSpec, StartFailed, StartTimeout
from puckstream.node import Node
from puckstream.supervision.child import child
from puckstream.testing.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


class Slow(Actor):
    """Starts when its door opens."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self.door = door

    async def on_start(self) -> None:
        await self.door.wait()


class SlowThread(ThreadActor):
    """The same with a thread."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self.door = door

    def on_start(self) -> None:
        self.door.block()


@pytest.fixture(params=[Slow, SlowThread], ids=["Actor", "ThreadActor"])
def slow(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_an_actor_that_does_not_start_in_time_is_killed_and_its_starter_told(
    engine: AnyEngine, slow: Any, door: Door
) -> None:
    async with engine() as e:
        starting: Any = start(e.system, slow, (door,), {}, timeout=2.0)
        await door.reached
        ref = next(iter(e.system.actors.values()))
        await e.clock.elapse(1.9)
        assert not starting.done
        await e.clock.elapse(0.1)
        with pytest.raises(StartTimeout, match=f"{slow.__name__} did not start") as caught:
            await starting
        assert isinstance(caught.value, StartFailed)
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.seconds, caught.value.reason) == (2.0, TimedOut(2.0))
        assert ref.reason == KILLED
        door.open()
        await e.no_zombies()


async def test_one_that_starts_in_time_is_left_alone_and_no_timer_stays(
    engine: AnyEngine, slow: Any, door: Door
) -> None:
    async with engine() as e:
        starting: Any = start(e.system, slow, (door,), {}, timeout=2.0)
        await door.reached
        door.open()
        ref = await starting
        assert e.clock.delays == []
        await e.clock.elapse(10)
        assert ref.is_alive()


async def test_a_start_that_a_thread_has_finished_in_time_counts_whenever_the_loop_learns_of_it(
    engine: AnyEngine, door: Door, threads: Threads
) -> None:
    async with engine() as e:
        starting: Any = start(e.system, SlowThread, (door,), {}, timeout=2.0)
        ref = next(iter(e.system.actors.values()))
        door.open()
        # The loop stands still here, so that it has the news and the end of the limit at once.
        while not e.system.inbound.entries:
            pass
        e.clock.advance(2.0)
        assert await starting is ref
        assert ref.is_alive()


async def test_the_name_is_free_before_the_starter_learns_that_time_is_over(
    engine: AnyEngine, slow: Any, door: Door, new_door: Callable[[], Door]
) -> None:
    async with engine() as e:
        e.system.names = names = Registry(system=e.system)
        first = lifecycle.spawn(e.system, slow, (door,), {}, name="shop")
        limit_start(first, 1.0)
        starting: Any = lifecycle.handshake(first)
        free: list[Any] = []
        starting._when_done(lambda: free.append(names.whereis("shop")))
        await door.reached
        await e.clock.elapse(1.0)
        assert free == [None]
        next_door = new_door()
        next_door.open()
        second = lifecycle.spawn(e.system, slow, (next_door,), {}, name="shop")
        assert names.whereis("shop") is second
        door.open()
        await e.no_zombies()
        with pytest.raises(StartTimeout):
            await starting


async def test_a_linked_starter_is_told_by_the_reply_and_by_no_signal(
    engine: AnyEngine, slow: Any, door: Door
) -> None:
    async with engine() as e:
        probe = await e.probe()
        starter = probe._recorder
        starting = starter.spawn(slow, door, link=True, start_timeout=1.0)
        await door.reached
        started = next(one for one in e.system.actors.values() if one.actor_class is slow)
        number = probe.monitor(started)
        await e.clock.elapse(1.0)
        with pytest.raises(StartTimeout):
            await starting
        assert await probe.receive(Down) == Down(number, started, KILLED)
        await probe.no_message()
        door.open()
        await e.no_zombies()


async def test_an_actor_that_ends_while_it_starts_says_why_and_not_that_it_took_too_long(
    engine: AnyEngine, slow: Any, door: Door
) -> None:
    async with engine() as e:
        starting: Any = start(e.system, slow, (door,), {}, timeout=1.0)
        await door.reached
        ref = next(iter(e.system.actors.values()))
        ref.exit("shutdown")
        door.open()
        with pytest.raises(StartFailed) as caught:
            await starting
        assert not isinstance(caught.value, StartTimeout)
        assert caught.value.reason == SHUTDOWN
        assert e.clock.delays == []


async def test_a_node_limits_a_start_for_loop_and_threads(
    slow: Any, door: Door, threads: Threads, new_door: Callable[[], Door]
) -> None:
    clock = VirtualClock()
    async with Node(clock=clock) as node:
        starting = node.spawn(slow, door, start_timeout=3.0)
        other = new_door()
        from_thread = threads.run(lambda: node.spawn(slow, other, start_timeout=3.0).get())
        await door.reached
        await other.reached
        await clock.elapse(3.0)
        for one in (starting, from_thread):
            with pytest.raises(StartTimeout):
                await one
        door.open()
        other.open()


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "5"])
async def test_what_is_no_time_limit_is_refused_before_anything_starts(value: Any) -> None:
    async with Node() as node:
        with pytest.raises(InvalidOption, match="start_timeout") as caught:
            node.spawn(Actor, start_timeout=value)
        assert caught.value.value is value


async def test_a_child_that_does_not_start_in_time_is_a_failed_start(slow: Any, door: Door) -> None:
    clock = VirtualClock()
    async with Node(clock=clock) as node:
        starting = node.start_child(child(slow, door, id="slow", name="s", start_timeout=2.0))
        await door.reached
        await clock.elapse(2.0)
        with pytest.raises(StartTimeout, match="2 s"):
            await starting
        assert node.whereis("s") is None
        assert await node.app.which_children() == ()
        door.open()


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "5"])
def test_a_spec_with_no_such_limit_is_refused(value: Any) -> None:
    with pytest.raises(InvalidSpec, match="start_timeout"):
        child(Actor, start_timeout=value)


async def test_a_restart_that_takes_too_long_has_failed_and_is_tried_again(door: Door) -> None:
    """S21: it counts as any other."""
    starts: list[int] = []

    class SlowOnce(Actor):
        async def on_start(self) -> None:
            starts.append(len(starts))
            if len(starts) == 2:
                await door.wait()

    clock = VirtualClock()
    async with Node(clock=clock) as node:
        ref = await node.start_child(child(SlowOnce, name="s", start_timeout=2.0))
        ref.kill()
        await door.reached
        await clock.elapse(2.0)
        assert len(starts) == 3
        assert (await node.wait_registered("s")).is_alive()


async def test_a_start_function_has_the_same_limit(door: Door) -> None:
    clock = VirtualClock()
    async with Node(clock=clock) as node:
        spawned: list[Any] = []

        async def begin(context: Any) -> Any:
            spawned.append(await context.spawn(Actor))
            await door.wait()

        starting = node.start_child(child(begin, id="slow", start_timeout=2.0))
        await door.reached
        await clock.elapse(2.0)
        with pytest.raises(StartTimeout, match="slow did not start"):
            await starting
        assert spawned[0].reason == KILLED
        assert clock.delays == []


async def test_arguments_for_a_class_that_takes_none_are_refused_and_named(
    engine: AnyEngine,
) -> None:
    class Plain(Actor):
        pass

    async with engine() as e:
        with pytest.raises(StartFailed, match=r"Plain takes no arguments; given: 1, name="):
            await e.spawn(Plain, 1, name="lost")
