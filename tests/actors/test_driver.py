"""Handlers that are coroutines: what asyncio promises a task holds in them, suspended or not."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.reply import Reply
from puckstream.actors.signals import KILLED, Crash, Custom
from puckstream.errors import ActorDead, Refuse

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Door, Engine

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def test_a_handler_that_does_not_suspend_costs_no_task_and_no_turn_of_the_loop(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async def answer(_actor: Doer) -> str:
        return "at once"

    async with engine() as e:
        ref = await e.spawn(doer)
        assert ref.call(answer).get() == "at once"
        spare = e.system.driver._spare
        for _ in range(100):
            assert ref.call(answer).get() == "at once"
        assert e.system.driver._spare is spare
        assert len(asyncio.all_tasks()) == 2


async def test_an_actor_handles_one_message_at_a_time_also_across_awaits(
    engine: AnyEngine, doer: AnyKind
) -> None:
    steps: list[Any] = []

    def act(number: int) -> Any:
        async def run(_actor: Doer) -> None:
            steps.append((number, "begins"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            steps.append((number, "ends"))

        return run

    async with engine() as e:
        ref = await e.spawn(doer)
        replies = [ref.call(act(number)) for number in range(3)]
        for reply in replies:
            await reply
        assert steps == [(number, step) for number in range(3) for step in ("begins", "ends")]


async def test_other_actors_run_while_one_is_suspended(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)
        held = one.call(door.hold)
        await door.reached
        assert await other.call("fine") == "fine"
        door.open()
        await held


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_handler_has_one_current_task_from_its_first_line_to_its_last(
    engine: AnyEngine, doer: AnyKind, suspends: bool
) -> None:
    async def look(_actor: Doer) -> list[Any]:
        seen = [asyncio.current_task()]
        assert seen[0] in asyncio.all_tasks()
        if suspends:
            await asyncio.sleep(0)
            seen.append(asyncio.current_task())
        await asyncio.sleep(0) if suspends else None
        return [*seen, asyncio.current_task()]

    async with engine() as e:
        ref = await e.spawn(doer)
        mine = asyncio.current_task()
        seen = await ref.call(look)
        assert len(set(seen)) == 1
        assert isinstance(seen[0], asyncio.Task)
        assert seen[0] is not mine
        assert asyncio.current_task() is mine


# ------------------------------------------------------------------------------ timeouts, groups


async def test_a_timeout_that_is_not_reached_leaves_no_trace(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async def hurry(_actor: Doer) -> str:
        async with asyncio.timeout(60):
            return "in time"

    async def hurry_slowly(_actor: Doer) -> str:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
            return "in time"

    async with engine() as e:
        ref = await e.spawn(doer)
        for act in (hurry, hurry_slowly, hurry):
            assert await ref.call(act) == "in time"


@pytest.mark.parametrize("spare", [False, True], ids=["new task", "spare task"])
@pytest.mark.parametrize("late", [False, True], ids=["suspending", "suspended"])
async def test_a_timeout_ends_the_wait_of_a_handler_and_not_the_actor(
    engine: AnyEngine, doer: AnyKind, spare: bool, late: bool
) -> None:
    """Also one that fires exactly as the handler suspends for the first time."""

    async def wait(_actor: Doer) -> str:
        if late:
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(60):
                try:
                    async with asyncio.timeout(0):
                        await asyncio.Event().wait()
                except TimeoutError:
                    assert task.cancelling() == 0
                    async with asyncio.timeout(0):
                        await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)
            return "timed out twice"
        return "never"

    async with engine() as e:
        ref = await e.spawn(doer)
        if spare:

            async def nothing(_actor: Doer) -> None:
                return

            await ref.call(nothing)
            await e.settle()
        assert await ref.call(wait) == "timed out twice"
        assert await ref.call("still here") == "still here"


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_task_group_works_in_a_handler(
    engine: AnyEngine, doer: AnyKind, suspends: bool
) -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def fail() -> None:
        msg = "no"
        raise ValueError(msg)

    async def gather(_actor: Doer) -> list[int]:
        await asyncio.sleep(0) if suspends else None
        async with asyncio.TaskGroup() as group:
            children = [group.create_task(double(number)) for number in range(3)]
        return [child.result() for child in children]

    async def gather_and_fail(_actor: Doer) -> str:
        await asyncio.sleep(0) if suspends else None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(double(1))
                group.create_task(fail())
                await asyncio.Event().wait()
        except ExceptionGroup as group_of_one:
            assert isinstance(group_of_one.exceptions[0], ValueError)
            return "failed as one"
        return "never"

    async with engine() as e:
        ref = await e.spawn(doer)
        assert await ref.call(gather) == [0, 2, 4]
        assert await ref.call(gather_and_fail) == "failed as one"
        assert await ref.call(gather) == [0, 2, 4]


async def test_a_cancelled_wait_hears_of_it_when_what_it_waits_for_has_ended(
    engine: AnyEngine, doer: AnyKind
) -> None:
    """As in any task: the task that is awaited is cancelled, cleans up, and only then."""
    steps: list[str] = []

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("child")

    async def wait(actor: Doer) -> None:
        try:
            await asyncio.ensure_future(child())
        finally:
            steps.append("handler")

    def cancel_in_the_same_turn(actor: Doer) -> Any:
        target.exit("enough")

    async with engine() as e:
        target, other = await e.spawn(doer), await e.spawn(doer)
        target.tell(wait)
        other.tell(cancel_in_the_same_turn)
        assert await target.wait_stopped() == Custom("enough")
        assert steps in (["child", "handler"], ["handler"])


# ----------------------------------------------------------------------------------- exceptions


async def test_an_exception_ends_the_actor_before_and_after_a_suspension(
    engine: AnyEngine, doer: AnyKind
) -> None:
    for turns in range(2):
        error = ValueError("no")

        async def fail(_actor: Doer, turns: int = turns, error: ValueError = error) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            raise error

        async with engine() as e:
            ref = await e.spawn(doer)
            with pytest.raises(ValueError, match="no"):
                await ref.call(fail)
            assert await ref.wait_stopped() == Crash(error)


async def test_a_system_exit_after_a_suspension_ends_the_actor_only(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async def leave(_actor: Doer) -> None:
        await asyncio.sleep(0)
        raise SystemExit(3)

    async with engine() as e:
        ref, bystander = await e.spawn(doer), await e.spawn(doer)
        with pytest.raises(ActorDead):
            await ref.call(leave)
        assert isinstance(ref.reason, Crash)
        assert await bystander.call("fine") == "fine"


@pytest.mark.parametrize("turns", [0, 1])
def test_a_keyboard_interrupt_belongs_to_the_program_and_the_rest_goes_on(
    engine: AnyEngine, doer: AnyKind, turns: int
) -> None:
    """The engine serves its other actors if the program runs the loop again."""

    async def interrupt(_actor: Doer) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise KeyboardInterrupt

    loop = asyncio.new_event_loop()
    e = engine()
    loop.run_until_complete(e.__aenter__())

    async def spawn() -> Any:
        return await e.spawn(doer)

    ref, bystander = loop.run_until_complete(spawn()), loop.run_until_complete(spawn())
    asked = ref.ask(interrupt, block=False)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()

    async def hello() -> Any:
        return await bystander.call("fine")

    async def answer() -> Any:
        with pytest.raises(ActorDead):
            await asked

    assert loop.run_until_complete(hello()) == "fine"
    loop.run_until_complete(answer())
    assert not ref.is_alive()
    loop.run_until_complete(e.__aexit__())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


async def test_a_reply_awaited_in_a_handler_does_not_block_the_loop(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    """Trap 6."""
    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)
        holding = other.call(door.hold)
        await door.reached

        async def ask(_actor: Doer) -> Any:
            return await other.ask("hello", block=False)

        asking = one.call(ask)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not asking.done
        door.open()
        assert await asking == "hello"
        await holding


async def test_actors_that_wait_for_each_other_in_a_circle_time_out(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)

        async def back(_actor: Doer) -> Any:
            return await one.call("back", timeout=3.0)

        async def there(_actor: Doer) -> Any:
            return await other.call(back)

        asked = one.call(there, timeout=None)
        await e.clock.elapse(3.0)
        with pytest.raises(TimeoutError):
            await asked


# ------------------------------------------------------------------------------------- contexts


async def test_whoever_made_the_spare_task_lends_it_no_context(engine: AnyEngine) -> None:
    """Hooks that run at its end are the actor's code, and nobody else's."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[Any] = []

    class Keeper(Actor):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        async def on_receive(self, message: Any) -> None:
            variable.set(self.name)
            if message == "suspend":
                await asyncio.sleep(0)
                variable.set(f"{self.name} at the end")
                raise ValueError

        def on_failure(self, *_: Any) -> None:
            seen.append(variable.get())

    async with engine() as e:
        for names in (("maker", "user"), ("both",)):
            refs = [await e.spawn(Keeper, name) for name in names]
            await refs[0].call("make the spare task")
            refs[-1].tell("suspend")
            await refs[-1].wait_stopped()
        assert seen == ["user at the end", "both at the end"]


async def test_a_killed_handler_that_waits_is_cancelled_at_its_wait(
    engine: AnyEngine, doer: AnyKind
) -> None:
    seen: list[str] = []

    async def wait(_actor: Doer) -> None:
        try:
            await Reply()
        finally:
            seen.append("cleaned up")

    async with engine() as e:
        ref = await e.spawn(doer)
        ref.tell(wait)
        await e.settle()
        ref.kill()
        assert ref.reason == KILLED
        await e.settle()
        assert seen == ["cleaned up"]
        assert e.system.zombies == {}


async def test_an_eager_task_factory_changes_nothing(engine: AnyEngine, doer: AnyKind) -> None:
    factory = getattr(asyncio, "eager_task_factory", None)
    asyncio.get_running_loop().set_task_factory(factory)

    async def wait(actor: Doer) -> str:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        raise Refuse(actor.heard[0] if actor.heard else "waited")

    async with engine() as e:
        ref = await e.spawn(doer)
        for _ in range(3):
            with pytest.raises(Exception, match="waited"):
                await ref.call(wait)
