"""Handlers whose task is cancelled, by themselves or by others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.signals import Custom
from puckstream.errors import ActorDead

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Engine

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def test_a_nested_call_has_a_current_task_of_its_own(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async def inner(_actor: Doer) -> Any:
        return asyncio.current_task()

    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)

        async def outer(_actor: Doer) -> list[Any]:
            return [asyncio.current_task(), await other.call(inner), asyncio.current_task()]

        before, nested, after = await one.call(outer)
        assert before is after
        assert before is not nested


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_handler_that_cancels_its_own_task_is_cancelled_when_it_waits(
    engine: AnyEngine, doer: AnyKind, suspends: bool
) -> None:
    async def cancel_myself(_actor: Doer) -> str:
        if suspends:
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task.uncancel()
            return "cancelled"
        return "never"

    async with engine() as e:
        ref = await e.spawn(doer)
        for _ in range(3):
            assert await ref.call(cancel_myself) == "cancelled"


async def test_a_handler_that_cancels_its_own_task_and_returns_has_returned(
    engine: AnyEngine, doer: AnyKind
) -> None:
    """And the next handler, of whichever actor, has nothing to do with it."""

    async def cancel_and_return(_actor: Doer) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "returned"

    async def wait(_actor: Doer) -> str:
        await asyncio.sleep(0)
        return "waited"

    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)
        for _ in range(3):
            assert await one.call(cancel_and_return) == "returned"
            assert await other.call(wait) == "waited"


async def test_a_task_that_somebody_has_kept_serves_no_other_handler(
    engine: AnyEngine, doer: AnyKind
) -> None:
    """Its keeper may cancel it later, and would hit a stranger."""
    kept: list[asyncio.Task[Any]] = []

    async def keep(_actor: Doer) -> None:
        task = asyncio.current_task()
        assert task is not None
        kept.append(task)

    async def wait(_actor: Doer) -> str:
        assert asyncio.current_task() not in kept
        kept[0].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "undisturbed"

    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)
        await one.call(keep)
        assert await other.call(wait) == "undisturbed"
        await one.call(keep)
        kept[1].cancel()
        await e.settle()
        assert await other.call(wait) == "undisturbed"


@pytest.mark.parametrize("begun", [False, True], ids=["before the task began", "after"])
async def test_an_exit_in_the_turn_of_the_first_suspension_cancels_the_handler(
    engine: AnyEngine, doer: AnyKind, begun: bool
) -> None:
    seen: list[str] = []

    async def wait(_actor: Doer) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with engine() as e:
        ref = await e.spawn(doer)
        if begun:

            async def nothing(_actor: Doer) -> None:
                return

            await ref.call(nothing)
            await e.settle()
        asked = ref.call(wait)
        ref.exit("enough")
        with pytest.raises(ActorDead):
            await asked
        assert seen == ["cancelled"]
        assert ref.reason == Custom("enough")


async def test_an_exit_in_the_handler_itself_takes_effect_at_its_first_wait(
    engine: AnyEngine, doer: AnyKind
) -> None:
    seen: list[str] = []

    async def leave(actor: Doer) -> None:
        actor.exit("enough")
        seen.append("still running")
        await asyncio.sleep(0)
        seen.append("never")

    async with engine() as e:
        ref = await e.spawn(doer)
        ref.tell(leave)
        assert await ref.wait_stopped() == Custom("enough")
        assert seen == ["still running"]
