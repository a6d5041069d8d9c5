"""Requests whose answer is given later, by whoever has it.

Covers S53.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.deferred import From
from puckstream.actors.reply import Reply
from puckstream.errors import (
    ActorDead,
    AlreadyAnswered,
    CallTimeout,
    NoRequest,
    PuckstreamError,
    Refuse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


def defer(actor: Any) -> str:
    """Take the answer, and return what must not become it."""
    actor.taken = actor.reply_to()
    return "not the answer"


async def taken(e: Engine, kind: AnyKind, *, timeout: float | None = 5.0) -> tuple[Any, Any, Any]:
    """Return an actor, the reply to a request of it, and who is to be answered."""
    ref = await e.spawn(kind)
    reply = ref.call(defer, timeout)
    return ref, reply, await ref.call(lambda actor: actor.taken)


async def test_a_request_is_answered_by_a_later_handler(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref, reply, _ = await taken(e, kind)
        assert not reply.done
        ref.tell(lambda actor: actor.taken.answer(42))
        assert await reply == 42


async def test_another_actor_answers(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        _, reply, handle = await taken(e, kind)
        other = await e.spawn(kind)
        assert await other.call(lambda _: handle.answer("from another"))
        assert await reply == "from another"


async def test_a_thread_answers_and_a_thread_waits(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        asked = threads.run(ref.ask, defer)
        while not ref._extra or not ref._extra.owed:
            await e.settle()
        handle = await ref.call(lambda actor: actor.taken)
        assert await threads.run(handle.answer, "from a thread")
        assert await asked == "from a thread"


async def test_a_task_answers(engine: AnyEngine, doer: AnyKind, door: Door) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)

        async def work(handle: From) -> None:
            await door.wait()
            handle.answer("worked")

        reply = ref.call(lambda actor: actor.start_task("work", work, actor.reply_to()))
        assert await ref.call("served meanwhile") == "served meanwhile"
        assert not reply.done
        door.open()
        assert await reply == "worked"


async def test_a_handler_that_has_awaited_can_still_take_the_answer(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)

        async def late(actor: Any) -> str:
            await door.wait()
            return defer(actor)

        reply = ref.call(late)
        await door.reached
        door.open()
        handle = await ref.call(lambda actor: actor.taken)
        assert not reply.done
        handle.answer(1)
        assert await reply == 1


async def test_an_error_is_raised_in_the_asker_and_nobody_dies(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref, reply, handle = await taken(e, kind)
        assert handle.fail(KeyError("no such order"))
        with pytest.raises(KeyError, match="no such order"):
            await reply
        reply = ref.call(defer)
        (await ref.call(lambda actor: actor.taken)).fail("in words")
        with pytest.raises(PuckstreamError, match="in words"):
            await reply
        assert ref.is_alive()


async def test_a_request_is_answered_once(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        _, reply, handle = await taken(e, kind)
        assert handle.waiting
        handle.answer("first")
        assert not handle.waiting
        for again in (lambda: handle.answer("second"), lambda: handle.fail("second")):
            with pytest.raises(AlreadyAnswered, match="second"):
                again()
        assert await reply == "first"


async def test_the_answer_of_many_threads_at_once_is_one(
    engine: AnyEngine, kind: AnyKind, threads: Threads, outcome: Callable[[Reply[Any]], Any]
) -> None:
    async with engine() as e:
        _, reply, handle = await taken(e, kind)
        said = [threads.run(handle.answer, number) for number in range(8)]
        threads.join()
        outcomes = [outcome(one) for one in said]
        assert outcomes.count(True) == 1
        assert sum(isinstance(one, AlreadyAnswered) for one in outcomes) == 7
        assert await reply == outcomes.index(True)


@pytest.mark.parametrize("end", ["normal", "kill", "gone"])
async def test_the_asker_learns_that_the_actor_ended_before_it_was_answered(
    engine: AnyEngine, kind: AnyKind, end: str
) -> None:
    """Also if another has the answer in his hands."""
    async with engine() as e:
        ref, reply, handle = await taken(e, kind, timeout=None)
        if end == "normal":
            ref.stop(block=False)
        else:
            ref.exit(end)
        with pytest.raises(ActorDead, match="before it replied"):
            await reply
        assert not handle.waiting
        assert handle.answer("too late") is False


async def test_who_takes_the_answer_and_raises_has_answered(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """S50: whose request made it crash gets the exception itself."""
    async with engine() as e:

        def defer_and_crash(actor: Any) -> None:
            defer(actor)
            msg = "after all"
            raise ValueError(msg)

        def defer_and_refuse(actor: Any) -> None:
            defer(actor)
            raise Refuse(KeyError("not now"))

        ref = await e.spawn(kind)
        with pytest.raises(KeyError, match="not now"):
            await ref.call(defer_and_refuse)
        assert ref.is_alive()
        assert (await ref.call(lambda actor: actor.taken)).answer("late") is False
        with pytest.raises(ValueError, match="after all"):
            await ref.call(defer_and_crash)
        await ref.wait_stopped()


async def test_an_answer_after_the_timeout_of_the_call_is_dropped(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """S49."""
    async with engine() as e:
        ref, reply, handle = await taken(e, kind, timeout=2.0)
        await e.clock.elapse(2.0)
        with pytest.raises(CallTimeout):
            await reply
        assert not handle.waiting
        assert handle.answer("late") is False
        with pytest.raises(CallTimeout):
            await reply
        assert not ref._extra.owed


async def test_a_request_that_timed_out_before_it_was_taken_up_is_answered_to_nobody(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(door.hold)
        await door.reached
        reply = ref.call(defer, 1.0)
        await e.clock.elapse(1.0)
        door.open()
        handle = await ref.call(lambda actor: actor.taken)
        assert handle.answer("late") is False
        with pytest.raises(CallTimeout):
            await reply


async def test_only_the_request_that_is_being_handled_can_be_taken(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        said: list[Any] = []

        def try_to(actor: Any) -> None:
            try:
                actor.reply_to()
            except NoRequest as error:
                said.append(error.ref)

        def twice(actor: Any) -> None:
            defer(actor)
            try_to(actor)
            actor.taken.answer()

        await ref.call("answered")
        ref.tell(try_to)
        await ref.call("after it")
        assert said == [ref]
        await ref.call(twice)
        assert said == [ref, ref]


async def test_a_request_is_not_taken_for_that_of_the_actor_whose_handler_is_called_within(
    engine: AnyEngine, doer: AnyKind
) -> None:
    """An actor that is started, or called, inside a handler has no part in its request."""
    async with engine() as e:
        ref, other = await e.spawn(doer), await e.spawn(doer)
        said: list[Any] = []

        class Starts(Actor):
            def on_start(self) -> None:
                with pytest.raises(NoRequest):
                    self.reply_to()
                said.append("started")

        def outer(actor: Any) -> None:
            actor.spawn(Starts)
            inner = other.call(lambda peer: peer.reply_to().answer("inner"))
            inner._when_done(lambda: said.append("inner"))
            actor.reply_to().answer("outer")

        assert await ref.call(outer) == "outer"
        assert said == ["started", "inner"]


async def test_a_method_called_through_a_proxy_can_take_the_answer(
    engine: AnyEngine, threads: Threads
) -> None:
    class Shop(Actor):
        def order(self) -> None:
            self.waiting = self.reply_to()

        def deliver(self) -> None:
            self.waiting.answer("a book")

    async with engine() as e:
        ref = await e.spawn(Shop)

        def shop() -> Any:
            proxy = ref.proxy()
            order = proxy.order()
            proxy.deliver().get(timeout=5)
            return order.get(timeout=5)

        assert await threads.run(shop) == "a book"


def test_a_handle_says_whether_somebody_waits() -> None:
    reply: Reply[Any] = Reply()
    handle = From(reply)
    assert repr(handle) == "<From: waiting>"
    handle.answer()
    assert repr(handle) == "<From: over>"
