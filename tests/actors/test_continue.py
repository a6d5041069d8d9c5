"""Continuations: what an actor does next, ahead of all that waits.

Covers S54.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from puckstream.actors.actor import Actor
from puckstream.actors.thread_actor import ThreadActor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.actors.conftest import Doer, Door, Engine

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def heard(ref: Any) -> list[Any]:
    result: list[Any] = await ref.call(lambda actor: list(actor.heard), None)
    return result


async def test_a_continuation_runs_ahead_of_everything_that_waits(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)

        def several(actor: Any) -> Any:
            actor.continue_with("next")
            actor.continue_with("after next")
            return door.hold(actor)

        ref.tell(several)
        await door.reached
        ref.tell("queued")
        control = ref.call("by the control lane", control=True)
        door.open()
        await control
        assert await heard(ref) == ["next", "after next", "by the control lane", "queued"]


async def test_a_continuation_of_a_continuation_runs_before_messages_too(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)

        def first(actor: Any) -> None:
            actor.continue_with(second)
            actor.continue_with("third")
            actor.actor_ref.tell("queued")

        def second(actor: Any) -> None:
            actor.heard.append("second")
            actor.continue_with("fourth")

        ref.tell(first)
        ref.tell("queued, too")
        await heard(ref)
        got = await heard(ref)
        assert got[:3] == ["second", "third", "fourth"]
        assert sorted(got[3:]) == ["queued", "queued, too"]


class Loading:
    """Starts at once, and does the rest in a continuation."""

    continue_with: Callable[[Any], None]

    def __init__(self, seen: list[Any]) -> None:
        super().__init__()
        self.seen = seen

    def on_start(self) -> Any:
        cast("Actor", self).actor_ref.tell("queued")
        self.continue_with("continued")
        self.seen.append("on_start")

    def on_receive(self, message: Any) -> None:
        self.seen.append(message)


class Loads(Loading, Actor):
    pass


class LoadsThread(Loading, ThreadActor):
    pass


async def test_a_continuation_of_the_start_runs_when_the_starter_has_been_answered(
    engine: AnyEngine,
) -> None:
    async with engine() as e:
        seen: list[Any] = []
        starting = e.spawn(Loads, seen)
        starting._when_done(lambda: seen.append("answered"))
        ref = await starting
        await ref.call("asked")
        assert seen == ["on_start", "answered", "continued", "queued", "asked"]


async def test_so_does_one_of_a_start_that_awaits(engine: AnyEngine, door: Door) -> None:
    class Awaits(Loads):
        async def on_start(self) -> None:
            await door.wait()
            super().on_start()

    async with engine() as e:
        seen: list[Any] = []
        starting = e.spawn(Awaits, seen)
        starting._when_done(lambda: seen.append("answered"))
        await door.reached
        door.open()
        await (await starting).call("asked")
        assert seen == ["on_start", "answered", "continued", "queued", "asked"]


async def test_a_thread_runs_it_before_any_message(engine: AnyEngine) -> None:
    async with engine() as e:
        seen: list[Any] = []
        ref = await e.spawn(LoadsThread, seen)
        await ref.call("asked")
        assert seen == ["on_start", "continued", "queued", "asked"]


async def test_a_continuation_answers_the_request_that_led_to_it(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """S53 and S54 together: the usual way to answer first and work then, or the other way."""
    async with engine() as e:
        ref = await e.spawn(kind)

        def later(actor: Any) -> None:
            handle = actor.reply_to()
            actor.continue_with(lambda _: handle.answer("worked"))

        assert await ref.call(later) == "worked"


async def test_a_continuation_that_awaits_holds_messages_up(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)

        async def work(actor: Any) -> None:
            await door.wait()
            actor.heard.append("worked")

        ref.tell(lambda actor: actor.continue_with(work))
        reply = ref.call("asked")
        await door.reached
        assert not reply.done
        door.open()
        assert await reply == "asked"
        assert await heard(ref) == ["worked", "asked"]


async def test_a_continuation_that_raises_ends_the_actor(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(lambda actor: actor.continue_with(ValueError("in the continuation")))
        reason = await ref.wait_stopped()
        assert str(reason) == "crash: ValueError: in the continuation"


async def test_a_continuation_of_an_actor_that_ends_first_is_a_dead_letter(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)

        def end(actor: Any) -> None:
            actor.continue_with("lost")
            actor.exit("gone")

        ref.tell(end)
        await ref.wait_stopped()
        assert [letter.message for letter in e.system.dead_letters.recent] == ["lost"]
