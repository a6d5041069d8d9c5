"""Sending from threads, and refusing to block a loop."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.mailbox import Bound
from puckstream.actors.reply import Reply
from puckstream.actors.signals import KILLED
from puckstream.errors import (
    ActorDead,
    BlockingCall,
    NodeNotRunning,
    PuckstreamError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]
    Outcome = Callable[[Reply[Any]], Any]


async def test_a_blocking_call_on_a_loop_is_refused_before_anything_is_sent(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    """Trap 6's worst case, on the node's loop and on any other."""
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)

        async def block() -> None:
            with pytest.raises(BlockingCall, match=r"await ref\.call"):
                ref.ask("hello?")
            with pytest.raises(BlockingCall, match=r"await ref\.stop"):
                ref.stop()

        await block()
        await threads.run(lambda: asyncio.run(block()))
        await ref.call("the first message")
        assert heard == ["the first message"]


async def test_a_blocking_call_in_a_handler_on_the_loop_is_refused(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)
        with pytest.raises(BlockingCall):
            await one.call(lambda _: other.ask("hello?"))


def test_a_blocking_call_on_a_loop_that_stands_still_is_refused(
    engine: AnyEngine, doer: AnyKind
) -> None:
    """Its thread would wait for a loop that it has to run itself."""
    with asyncio.Runner(debug=False) as runner:
        e = runner.run(engine().__aenter__())

        async def start() -> Any:
            return await e.spawn(doer)

        ref = runner.run(start())
        with pytest.raises(BlockingCall):
            ref.ask("hello?")
        runner.run(e.__aexit__())


async def test_a_thread_actor_may_block_on_others(
    engine: AnyEngine, kind: AnyKind, thread_doer: AnyKind
) -> None:
    async with engine() as e:
        asker, other = await e.spawn(thread_doer), await e.spawn(kind)
        assert await asker.call(lambda _: other.ask("nested")) == "nested"
        assert await asker.call(lambda _: other.stop()) is True


async def test_messages_of_one_thread_arrive_in_order_and_none_is_lost(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    """Several threads at once; no wake-up is lost either."""
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)
        start = threading.Barrier(4)

        def send(sender: int) -> None:
            start.wait()
            for number in range(5000):
                ref.tell((sender, number))

        sending = [threads.run(send, sender) for sender in range(4)]
        for sent in sending:
            await sent
        await ref.call("done", timeout=None)
        assert heard[-1] == "done"
        assert len(heard) == 20_001
        for sender in range(4):
            assert [number for by, number in heard[:-1] if by == sender] == list(range(5000))


async def test_every_single_message_of_a_thread_wakes_the_loop(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    """One at a time, each sent only when the one before has been answered."""
    async with engine() as e:
        ref = await e.spawn(kind)

        def one_by_one() -> list[Any]:
            return [ref.ask(number, timeout=20) for number in range(500)]

        assert await threads.run(one_by_one) == list(range(500))


async def test_after_the_shutdown_everything_is_refused(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
    for send in (ref.tell, ref.ask):
        with pytest.raises(ActorDead):
            await threads.run(send, "hello?")
    with pytest.raises(ActorDead):
        await (await threads.run(ref.call, "hello?"))
    with pytest.raises(ActorDead):
        await (await threads.run(lambda: ref.call("hello?", control=True, timeout=None)))
    assert await threads.run(lambda: ref.wait_stopped().get()) == KILLED
    ref.exit()
    await threads.run(ref.exit)
    with pytest.raises(NodeNotRunning):
        await e.spawn(kind)
    with pytest.raises(NodeNotRunning):
        await threads.run(e.spawn, kind)


async def test_requests_pending_at_the_shutdown_are_answered(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        handled, queued = ref.call(door.hold, timeout=None), ref.call("x", timeout=None)
        stopped = ref.stop(block=False)
        await door.reached
        closing = asyncio.ensure_future(e.system.close(grace=20.0))
        for reply in (handled, queued):
            with pytest.raises(ActorDead):
                await reply
        await stopped
        door.open()
        await closing


async def test_what_threads_send_while_the_engine_closes_is_answered(
    engine: AnyEngine, kind: AnyKind, doer: AnyKind, threads: Threads
) -> None:
    """Requests, starts, ends, bounded mailboxes: a thread never waits for a node that is gone."""
    bounded = type("Bounded", (kind,), {"mailbox": Bound(5, "drop_old")})
    for _ in range(10):
        async with engine() as e:
            refs = [await e.spawn(kind), await e.spawn(bounded)]
            start = threading.Barrier(4)

            def bother(refs: Any = refs, start: Any = start, e: Any = e) -> list[Reply[Any]]:
                replies: list[Reply[Any]] = []
                start.wait()
                for number in range(400):
                    ref = refs[number & 1]
                    acts: list[Callable[[], Any]] = [
                        lambda ref=ref: ref.ask(0, block=False),
                        lambda ref=ref: ref.call(0, timeout=None, control=True),
                        lambda ref=ref: ref.wait_stopped(),
                        lambda: e.spawn(doer),
                    ]
                    try:
                        replies.append(acts[number % 4]())
                    except NodeNotRunning:
                        break
                return replies

            bothering = [threads.run(bother) for _ in range(3)]
            await asyncio.to_thread(start.wait)
            await e.settle()
        for bothered in bothering:
            for reply in await bothered:
                async with asyncio.timeout(20):
                    await _settled(reply)


async def _settled(reply: Reply[Any]) -> None:
    try:
        await reply
    except PuckstreamError:
        return
