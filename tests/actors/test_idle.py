"""Idle timeouts.

Covers S54.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.signals import Down
from puckstream.errors import InvalidOption

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Door, Engine

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def waiting(e: Engine, kind: AnyKind, seconds: float = 5.0) -> Any:
    """Return an actor with an idle timeout."""
    ref = await e.spawn(kind)
    await ref.call(lambda actor: actor.set_idle_timeout(seconds, "idle"), None)
    await e.settle()
    return ref


async def heard(ref: Any) -> list[Any]:
    result: list[Any] = await ref.call(lambda actor: list(actor.heard), None)
    return result


async def test_an_actor_that_gets_nothing_for_so_long_gets_the_message_once(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await waiting(e, kind)
        await e.clock.elapse(4.9)
        assert ref._actor.heard == []
        await e.clock.elapse(0.1)
        await e.clock.elapse(100)
        assert await heard(ref) == ["idle"]
        assert e.clock.delays == []


async def test_any_message_cancels_it(engine: AnyEngine, kind: AnyKind) -> None:
    """Told, asked, or of the engine's."""
    async with engine() as e:
        ref = await waiting(e, kind)
        other = await e.spawn(kind)
        await e.clock.elapse(4)
        ref.tell("news")
        await e.clock.elapse(100)
        assert await heard(ref) == ["news"]

        await ref.call(lambda actor: actor.set_idle_timeout(5, "idle"))
        assert (await heard(ref)) == ["news"]
        await e.clock.elapse(100)
        assert await heard(ref) == ["news"]

        def watch(actor: Any) -> None:
            actor.monitor(other)
            actor.set_idle_timeout(5, "idle")

        await ref.call(watch)
        other.kill()
        await e.clock.elapse(100)
        assert [type(one) for one in await heard(ref)] == [str, Down]


async def test_its_own_handler_can_set_it_anew(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:

        class Beats(kind):  # type: ignore[misc, valid-type]  # the class of the fixture
            def on_receive(self, message: Any) -> Any:
                if message == "idle":
                    self.set_idle_timeout(5.0, "idle")
                return super().on_receive(message)

        ref = await waiting(e, Beats)
        for beats in range(1, 4):
            await e.clock.elapse(5)
            if kind._threaded:
                while len(ref._actor.heard) < beats:
                    await e.settle()
                await e.settle()
            assert ref._actor.heard == ["idle"] * beats


async def test_setting_it_again_replaces_it_and_none_cancels_it(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await waiting(e, kind)

        def several(actor: Any) -> None:
            actor.set_idle_timeout(9, "longer")
            actor.set_idle_timeout(2, "shorter")

        await ref.call(several, None)
        await e.clock.elapse(2)
        assert await heard(ref) == ["shorter"]
        await ref.call(several, None)
        await ref.call(lambda actor: actor.set_idle_timeout(None), None)
        await e.clock.elapse(100)
        assert await heard(ref) == ["shorter"]
        assert e.clock.delays == []


async def test_an_actor_that_sets_it_for_each_message_has_one_timer(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await waiting(e, kind)
        for _ in range(50):
            ref.tell(lambda actor: actor.set_idle_timeout(5, "idle"))
        await ref.call(lambda actor: actor.set_idle_timeout(5, "idle"), None)
        await e.settle()
        assert e.clock.delays == [5.0]
        await e.clock.elapse(5)
        while not ref._actor.heard:
            await e.settle()
        assert ref._actor.heard == ["idle"]


async def test_a_message_that_waits_while_a_handler_runs_has_come_in_time(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)

        def set_and_hold(actor: Any) -> Any:
            actor.set_idle_timeout(5, "idle")
            return door.hold(actor)

        ref.tell(set_and_hold)
        await door.reached
        ref.tell("waits")
        await e.clock.elapse(10)
        door.open()
        assert await heard(ref) == ["waits"]


async def test_it_ends_with_the_actor(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(lambda actor: actor.set_idle_timeout(5, "idle"))
        await ref.stop(block=False)
        assert e.clock.delays == []


@pytest.mark.parametrize("seconds", [-1, math.nan, "5", True])
async def test_what_is_no_time_is_refused(engine: AnyEngine, doer: AnyKind, seconds: Any) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)
        with pytest.raises(InvalidOption, match="seconds"):
            await ref.call(lambda actor: actor.set_idle_timeout(seconds, "idle"))


@pytest.mark.parametrize("then", [None, 5.0])
async def test_one_that_is_due_but_not_taken_up_is_taken_back(
    engine: AnyEngine, doer: AnyKind, door: Door, then: float | None
) -> None:
    """By ``None`` as by a new one; what others have sent stays, were it the same object."""

    async def busy(actor: Any) -> None:
        actor.set_idle_timeout(1, "idle")
        await door.wait()
        actor.set_idle_timeout(then, "later")

    async with engine() as e:
        ref = await e.spawn(doer)
        ref.tell(busy)
        await door.reached
        await e.clock.elapse(2)
        assert ref.mailbox_length == 1
        door.open()
        await e.settle()
        assert ref._actor.heard == []
        await e.clock.elapse(10)
        assert ref._actor.heard == ([] if then is None else ["later"])


async def test_taking_it_back_leaves_the_same_message_of_another_sender(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async def busy(actor: Any) -> None:
        actor.set_idle_timeout(1, "idle")
        await door.wait()
        actor.set_idle_timeout(None)

    async with engine() as e:
        ref = await e.spawn(doer)
        ref.tell(busy)
        await door.reached
        await e.clock.elapse(2)
        ref.tell("idle")
        door.open()
        assert await heard(ref) == ["idle"]
