"""Handlers that are coroutines, whether they suspend or not, are tasks to the code in them."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import Crash, Custom
from puckstream.errors import ActorDead, CallTimeout, Refuse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.actors.conftest import Doer, Door, Engine

BOOM = Custom("boom")
COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


# -- the current task


async def test_an_actor_that_answers_inside_its_caller_leaves_the_callers_task_as_it_was(
    engine: type[Engine], doer: type[Doer]
) -> None:
    async def inner(_actor: Any) -> Any:
        return asyncio.current_task()

    async def outer(actor: Any) -> Any:
        mine = [asyncio.current_task()]
        theirs = await other.call(inner)
        mine.append(asyncio.current_task())
        await asyncio.sleep(0)
        theirs_again = await other.call(inner)
        mine.append(asyncio.current_task())
        return mine, {theirs, theirs_again}

    async with engine() as e:
        ref, other = await e.spawn(doer), await e.spawn(doer)
        own = asyncio.current_task()
        mine, theirs = await ref.call(outer)
        assert asyncio.current_task() is own
        assert len(set(mine)) == 1
        assert not theirs & {own, *mine}


async def test_an_actor_that_is_asked_may_call_its_asker_back_without_waiting(
    engine: type[Engine], doer: type[Doer]
) -> None:
    async with engine() as e:
        ref, other = await e.spawn(doer), await e.spawn(doer)
        later: list[Any] = []

        def call_back(_actor: Any) -> str:
            later.append(ref.call("later"))
            return "now"

        async def handler(_actor: Any) -> list[str]:
            first: str = await other.call(call_back)
            await asyncio.sleep(0)
            # From here on the asker's task is a task of its own.
            second: str = await other.call(call_back)
            return [first, second]

        assert await ref.call(handler) == ["now", "now"]
        assert [await reply for reply in later] == ["later", "later"]


async def test_a_timeout_of_a_handler_that_does_not_suspend_never_hits_a_later_one(
    engine: type[Engine], doer: type[Doer]
) -> None:
    async def quick(_actor: Any) -> str:
        async with asyncio.timeout(0):  # that is the point
            return "done"

    async def slow(_actor: Any) -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return "slow"

    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)
        for _ in range(3):
            first, second = one.call(quick), other.call(slow)
            assert (await first, await second) == ("done", "slow")


async def test_whoever_keeps_the_task_of_a_handler_cannot_cancel_another_actors(
    engine: type[Engine], doer: type[Doer]
) -> None:
    kept: list[Any] = []

    async def keep(_actor: Any) -> None:
        kept.append(asyncio.current_task())

    async def slow(_actor: Any) -> str:
        kept[0].cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        return "unharmed"

    async with engine() as e:
        await (await e.spawn(doer)).call(keep)
        assert await (await e.spawn(doer)).call(slow) == "unharmed"


async def test_a_failing_task_of_a_group_ends_the_actor_with_the_group_as_its_reason(
    engine: type[Engine], doer: type[Doer], door: Door
) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def handler(_actor: Any) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await door.wait()

    async with engine() as e:
        ref = await e.spawn(doer)
        with pytest.raises(ExceptionGroup) as caught:
            await ref.call(handler)
        assert caught.group_contains(ZeroDivisionError)
        assert await ref.wait_stopped() == Crash(caught.value)


@pytest.mark.parametrize("suspended_before", [True, False])
async def test_a_handler_that_cancels_itself_ends_its_actor(
    engine: type[Engine], doer: type[Doer], suspended_before: bool
) -> None:
    async def handler(_actor: Any) -> None:
        if suspended_before:
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async with engine() as e:
        # The second time a task that was kept ready is the one.
        for _ in range(2):
            ref = await e.spawn(doer)
            with pytest.raises(ActorDead):
                await ref.call(handler)
            assert isinstance(await ref.wait_stopped(), Crash)
            await e.settle()
            other = await e.spawn(doer)
            assert await other.call(door_of_nothing) == "ready"


async def door_of_nothing(_actor: Any) -> str:
    return "ready"


# -- one message at a time


async def test_messages_wait_while_a_handler_is_suspended(
    engine: type[Engine], doer: type[Doer], door: Door
) -> None:
    heard: list[Any] = []
    async with engine() as e:
        ref = await e.spawn(doer, heard)
        ref.tell(door.hold)
        await door.reached
        ref.tell("later")
        answer = ref.call("asked", control=True)
        await e.settle()
        assert (ref.state, heard, answer.done) == ("waiting", [], False)
        assert ref.mailbox_length == 1
        door.open()
        assert await answer == "asked"
        await e.settle()
        assert heard == ["asked", "later"]
        assert ref.state == "idle"


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_what_a_coroutine_returns_or_raises_is_the_reply(
    engine: type[Engine], doer: type[Doer], steps: int
) -> None:
    def handler(outcome: object) -> Callable[[Any], Awaitable[Any]]:
        async def handle(_actor: Any) -> Any:
            for _ in range(steps):
                await asyncio.sleep(0)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        return handle

    async with engine() as e:
        ref = await e.spawn(doer)
        assert await ref.call(handler(None)) is None
        assert await ref.call(handler(5)) == 5
        with pytest.raises(KeyError):
            await ref.call(handler(Refuse(KeyError("no"))))
        with pytest.raises(CallTimeout):
            await ref.call(handler(CallTimeout("of my own")))
        assert not ref.is_alive()


# -- contexts


async def test_context_variables_belong_to_the_actor_across_awaits_and_messages(
    engine: type[Engine], doer: type[Doer]
) -> None:
    def paint(colour: str) -> Callable[[Any], Awaitable[list[str]]]:
        async def handler(_actor: Any) -> list[str]:
            seen = [COLOUR.get()]
            COLOUR.set(colour)
            await asyncio.sleep(0)
            seen.append(COLOUR.get())
            COLOUR.set(f"dark {colour}")
            return seen

        return handler

    async with engine() as e:
        red, blue = await e.spawn(doer), await e.spawn(doer)
        both = red.call(paint("red")), blue.call(paint("blue"))
        assert [await one for one in both] == [["none", "red"], ["none", "blue"]]
        assert await red.call(lambda _actor: COLOUR.get()) == "dark red"
        assert await blue.call(paint("green")) == ["dark blue", "green"]
        assert COLOUR.get() == "none"


async def test_an_owned_task_sees_the_actors_context_and_changes_only_its_own(
    engine: type[Engine], doer: type[Doer]
) -> None:
    async def task() -> str:
        seen = COLOUR.get()
        COLOUR.set("black")
        return seen

    def begin(actor: Any) -> None:
        COLOUR.set("red")
        actor.start_task("paint", task)

    heard: list[Any] = []
    async with engine() as e:
        ref = await e.spawn(doer, heard)
        ref.tell(begin)
        await e.settle()
        assert [done.result for done in heard] == ["red"]
        assert await ref.call(lambda _actor: COLOUR.get()) == "red"


async def test_hooks_run_in_the_actors_context(engine: type[Engine]) -> None:
    seen: list[str] = []

    class Painter(Actor):
        async def on_start(self) -> None:
            COLOUR.set("red")
            await asyncio.sleep(0)

        def on_receive(self, message: Any) -> None:
            seen.append(COLOUR.get())
            COLOUR.set("blue")

        async def on_stop(self) -> None:
            await asyncio.sleep(0)
            seen.append(COLOUR.get())

    async with engine() as e:
        ref = await e.spawn(Painter)
        ref.tell("look")
        await ref.stop(block=False)
    assert seen == ["red", "blue"]
