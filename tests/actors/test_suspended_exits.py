"""Suspended handlers that are told to exit, or killed."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.signals import KILLED, SHUTDOWN, Crash, Custom, Down
from puckstream.errors import ActorDead

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Door, Engine

BOOM = Custom("boom")
COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


async def test_an_exit_signal_cancels_a_suspended_handler_which_may_clean_up(
    engine: type[Engine], doer: type[Doer], door: Door
) -> None:
    heard: list[Any] = []

    async def handler(_actor: Any) -> None:
        try:
            await door.wait()
        finally:
            await asyncio.sleep(0)
            heard.append("cleaned up")

    async with engine() as e:
        ref, probe = await e.spawn(doer, heard), await e.probe()
        monitor = probe.monitor(ref)
        answer = ref.call(handler)
        ref.exit("boom")
        with pytest.raises(ActorDead):
            await answer
        assert await probe.receive() == Down(monitor, ref, BOOM)
        assert heard == ["cleaned up"]


async def test_an_exit_signal_before_the_first_step_of_the_task_cancels_it_too(
    engine: type[Engine], doer: type[Doer], door: Door
) -> None:
    async with engine() as e:
        for _ in range(3):
            ref = await e.spawn(doer)
            answer = ref.call(door.hold)
            assert ref.state == "waiting"
            ref.exit("boom")
            assert ref.state == "exiting"
            with pytest.raises(ActorDead):
                await answer
            assert await ref.wait_stopped() == BOOM


async def test_a_handler_that_ends_its_own_actor_is_cancelled_at_its_next_await(
    engine: type[Engine], doer: type[Doer]
) -> None:
    heard: list[str] = []

    async def handler(actor: Any) -> None:
        actor.exit("boom")
        heard.append("still here")
        await asyncio.sleep(0)
        heard.append("never")

    async with engine() as e:
        ref = await e.spawn(doer)
        with pytest.raises(ActorDead):
            await ref.call(handler)
        assert await ref.wait_stopped() == BOOM
        assert heard == ["still here"]


async def test_a_handler_that_swallows_its_cancellation_answers_and_its_actor_ends_all_the_same(
    engine: type[Engine], doer: type[Doer], door: Door
) -> None:
    async def handler(_actor: Any) -> str:
        try:
            await door.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "all the same"

    async with engine() as e:
        ref = await e.spawn(doer)
        answer = ref.call(handler)
        ref.tell("never handled")
        ref.exit("boom")
        assert await answer == "all the same"
        assert await ref.wait_stopped() == BOOM


async def test_the_first_of_two_exit_signals_gives_the_reason(
    engine: type[Engine], doer: type[Doer], door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)
        ref.tell(door.hold)
        await door.reached
        ref.exit("boom")
        ref.exit("shutdown")
        assert await ref.wait_stopped() == BOOM
        ref = await e.spawn(doer)
        ref.exit("shutdown")
        ref.exit("boom")
        assert await ref.wait_stopped() == SHUTDOWN


async def test_an_error_while_being_cancelled_is_the_reason_instead(
    engine: type[Engine], doer: type[Doer], door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_actor: Any) -> None:
        try:
            await door.wait()
        finally:
            raise ZeroDivisionError

    async with engine() as e:
        ref = await e.spawn(doer)
        answer = ref.call(handler)
        ref.exit("boom")
        with pytest.raises(ZeroDivisionError):
            await answer
        assert isinstance(await ref.wait_stopped(), Crash)
        assert len(caplog.records) == 1


async def test_a_killed_actor_is_dead_at_once_and_a_zombie_until_its_handler_ends(
    engine: type[Engine], doer: type[Doer], door: Door
) -> None:
    async def handler(_actor: Any) -> str:
        await door.resist()
        return "too late"

    async with engine() as e:
        ref, probe = await e.spawn(doer), await e.probe()
        monitor = probe.monitor(ref)
        answer = ref.call(handler)
        waiting = ref.call("never handled")
        await door.reached
        ref.exit("boom")
        await e.settle()
        assert ref.state == "exiting"
        ref.kill()
        assert (ref.state, ref.reason) == ("dead", KILLED)
        assert answer.done
        assert waiting.done
        for reply in (answer, waiting):
            with pytest.raises(ActorDead):
                await reply
        await probe.expect(Down(monitor, ref, KILLED))
        await e.settle()
        assert list(e.system.zombies.values()) == [ref]
        door.open()
        await e.settle()
        assert not e.system.zombies


async def test_an_actor_that_kills_itself_is_dead_while_its_handler_goes_on(
    engine: type[Engine], doer: type[Doer], door: Door
) -> None:
    seen: list[Any] = []

    async def handler(actor: Any) -> None:
        actor.exit("kill")
        seen.append(actor.actor_ref.state)
        try:
            await asyncio.sleep(0)
        finally:
            seen.append("cancelled")

    async with engine() as e:
        ref = await e.spawn(doer)
        with pytest.raises(ActorDead):
            await ref.call(handler)
        assert ref.reason == KILLED
        await e.settle()
        assert seen == ["dead", "cancelled"]
        assert not e.system.zombies


async def test_closing_the_engine_names_the_zombies_that_stay(
    engine: type[Engine], doer: type[Doer], door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(_actor: Any) -> None:
        await door.resist()

    e = engine()
    await e.__aenter__()
    ref = await e.spawn(doer)
    ref.tell(handler)
    await door.reached
    with caplog.at_level(logging.ERROR):
        await e.system.close(grace=0.0)
    assert [record.getMessage().split(" was ")[0] for record in caplog.records] == [str(ref)]
    door.open()
    await e.settle()
    assert not e.system.zombies
