"""What an asker gets when a handler raises, and that every request is answered."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from puckstream.actors.reply import Reply
from puckstream.actors.signals import NORMAL, SHUTDOWN, Crash
from puckstream.errors import (
    ActorDead,
    PuckstreamError,
    Refuse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]
    Outcome = Callable[[Reply[Any]], Any]


async def test_an_exception_in_a_request_ends_the_actor_and_reaches_the_asker(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """Trap 1 of pykka's semantics; S51."""
    async with engine() as e:
        ref = await e.spawn(kind)
        error = ValueError("no")
        with pytest.raises(ValueError, match="no"):
            await ref.call(error)
        assert await ref.wait_stopped() == Crash(error)
        with pytest.raises(ActorDead):
            await ref.call("hello?")


async def test_an_actor_with_pykkas_rule_answers_with_the_exception_and_lives(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(type("Lenient", (kind,), {"ask_errors": "reply"}))
        with pytest.raises(ValueError, match="no"):
            await ref.call(ValueError("no"))
        assert await ref.call("still here") == "still here"
        ref.tell(ValueError("a tell crashes all the same"))
        assert isinstance(await ref.wait_stopped(), Crash)


async def test_what_is_no_exception_ends_an_actor_with_pykkas_rule_too(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(type("Lenient", (kind,), {"ask_errors": "reply"}))
        with pytest.raises(ActorDead):
            await ref.call(SystemExit(3))
        assert isinstance(await ref.wait_stopped(), Crash)


async def test_an_actor_refuses_a_request_and_lives(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        with pytest.raises(LookupError, match="nothing there"):
            await ref.call(Refuse(LookupError("nothing there")))
        with pytest.raises(PuckstreamError, match="in words"):
            await ref.call(Refuse("in words"))
        ref.tell(Refuse("nobody waits for this"))
        assert await ref.call("still here") == "still here"


async def test_a_suspended_handler_refuses_a_request_and_lives(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async def refuse(actor: Doer) -> None:
        await door.wait()
        raise Refuse(LookupError("nothing there"))

    async with engine() as e:
        ref = await e.spawn(doer)
        asked = ref.call(refuse)
        await door.reached
        door.open()
        with pytest.raises(LookupError, match="nothing there"):
            await asked
        assert await ref.call("still here") == "still here"


@pytest.mark.parametrize(
    "error", [SystemExit(3), asyncio.CancelledError(), GeneratorExit()], ids=repr
)
async def test_what_is_no_exception_ends_the_one_actor_and_spares_the_asker(
    engine: AnyEngine, kind: AnyKind, error: BaseException
) -> None:
    """Trap 3: one cancelled await must not stop every actor, nor leave its asker waiting."""
    async with engine() as e:
        ref, bystander = await e.spawn(kind), await e.spawn(kind)
        with pytest.raises(ActorDead) as caught:
            await ref.call(error)
        assert caught.value.__cause__ is error
        assert await ref.wait_stopped() == Crash(error)
        assert await bystander.call("fine") == "fine"


async def test_a_cancelled_await_in_a_handler_ends_the_one_actor(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async def wait_for_something_cancelled(actor: Doer) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        await future

    async with engine() as e:
        ref, bystander = await e.spawn(doer), await e.spawn(doer)
        with pytest.raises(ActorDead):
            await ref.call(wait_for_something_cancelled)
        reason = ref.reason
        assert isinstance(reason, Crash)
        assert isinstance(reason.error, asyncio.CancelledError)
        assert await bystander.call("fine") == "fine"


async def test_a_keyboard_interrupt_in_a_thread_ends_its_actor_only(
    engine: AnyEngine, thread_doer: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(thread_doer)
        with pytest.raises(ActorDead):
            await ref.call(KeyboardInterrupt())
        assert isinstance(await ref.wait_stopped(), Crash)


async def test_asks_racing_with_a_stop_are_all_answered(
    engine: AnyEngine, kind: AnyKind, threads: Threads, outcome: Outcome
) -> None:
    """Trap 4, threads against the stop."""
    async with engine() as e:
        for _ in range(20):
            ref = await e.spawn(kind)
            start = threading.Barrier(5)

            def ask(ref: Any = ref, start: Any = start) -> list[Reply[Any]]:
                start.wait()
                return [ref.ask(number, block=False) for number in range(40)]

            def stop(ref: Any = ref, start: Any = start) -> list[Reply[Any]]:
                start.wait()
                return [ref.stop(block=False)]

            asking = [*(threads.run(ask) for _ in range(4)), threads.run(stop)]
            replies = [reply for asked in asking for reply in await asked]
            for reply in replies:
                with contextlib.suppress(ActorDead):
                    assert await reply in range(40)
            assert ref.reason == NORMAL


async def test_requests_that_wait_when_the_actor_stops_fail_at_once(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        held = ref.call(door.hold)
        await door.reached
        stopped = ref.stop(block=False)
        late = [ref.call(number) for number in range(3)]
        door.open()
        await held
        assert await stopped is True
        for reply in late:
            with pytest.raises(ActorDead):
                await reply


async def test_a_dead_actor_refuses_at_once_whatever_it_is_sent(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.exit()
        await ref.wait_stopped()
        with pytest.raises(ActorDead):
            ref.tell("hello?")
        for reply in (ref.call("x"), ref.call("x", control=True), ref.ask("x", block=False)):
            with pytest.raises(pykka.ActorDeadError):
                await reply
        assert await ref.stop(block=False) is False
        with pytest.raises(ActorDead):
            await threads.run(ref.ask, "hello?")
        with pytest.raises(ActorDead):
            await threads.run(ref.tell, "hello?")
        with pytest.raises(ActorDead):
            ref.proxy()
        ref.exit()
        ref.kill()
        assert ref.reason == SHUTDOWN


async def test_the_request_being_handled_fails_when_its_actor_is_killed(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """S50, also while a thread blocks."""
    async with engine() as e:
        ref = await e.spawn(kind)
        asked = ref.call(door.hold)
        await door.reached
        ref.kill()
        with pytest.raises(ActorDead):
            await asked
        door.open()


async def test_the_request_being_handled_fails_when_its_actor_is_told_to_exit(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)
        asked = ref.call(door.hold)
        await door.reached
        ref.exit("enough")
        with pytest.raises(ActorDead):
            await asked
