"""Suspended handlers that are told to exit, or killed."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.inspector import Inspector
from puckstream.actors.signals import KILLED, SHUTDOWN, Custom, Down
from puckstream.errors import ActorDead
from puckstream.node import Node
from puckstream.supervision.child import child

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


async def test_an_error_while_being_cancelled_is_reported_and_the_signal_stays_the_reason(
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
        assert await ref.wait_stopped() == BOOM
        assert len(caplog.records) == 1


async def test_what_a_handler_raises_after_it_was_told_to_exit_is_no_crash(
    engine: type[Engine], kind: type[Doer], caplog: pytest.LogCaptureFixture
) -> None:
    def ends(actor: Any) -> None:
        actor.exit("shutdown")
        raise ZeroDivisionError

    async with engine() as e:
        for send in ("tell", "call"):
            heard: list[Any] = []
            ref = await e.spawn(kind, heard)
            answer = getattr(ref, send)(ends)
            if answer is not None:
                with pytest.raises(ZeroDivisionError):
                    await answer
            assert await ref.wait_stopped() == SHUTDOWN
            assert heard == [], "an untrapped exit runs no hook"
        assert len(caplog.records) == 2


async def test_a_transient_child_that_fails_while_it_is_shut_down_is_not_restarted(
    door: Door,
) -> None:
    class Clumsy(Actor):
        async def on_receive(self, message: Any) -> None:
            try:
                await door.wait()
            finally:
                raise ZeroDivisionError

    async with Node() as node:
        await node.start_child(child(Clumsy, id="clumsy", restart="transient"))
        ref = (await node.app.which_child("clumsy")).ref
        assert ref is not None
        ref.tell("go")
        await door.reached
        ref.exit("shutdown")
        assert await ref.wait_stopped() == SHUTDOWN
        row = await node.app.which_child("clumsy")
        assert (row.ref, row.restarts) == (None, 0)


async def test_an_actor_that_was_suspended_by_request_is_not_dead_before_its_handler_has_ended(
    engine: type[Engine], doer: type[Doer], new_door: type[Door]
) -> None:
    working, cleaning = new_door(), new_door()

    async def work(_actor: Any) -> None:
        try:
            await working.wait()
        finally:
            await cleaning.wait()

    async with engine() as e:
        ref, other = await e.spawn(doer), await e.spawn(doer)
        look = Inspector(ref)
        await look.suspend()
        ref.tell(work)
        look.resume()
        look.status()

        def once_it_works(_actor: Any) -> None:
            if ref.state == "waiting":
                ref.exit("shutdown")
            else:
                other.tell(once_it_works)

        other.tell(once_it_works)
        await cleaning.reached
        await e.settle()
        assert ref.state == "exiting"
        cleaning.open()
        assert await ref.wait_stopped() == SHUTDOWN


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
