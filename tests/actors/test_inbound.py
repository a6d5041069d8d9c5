"""The queue from all threads to the loop."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors import scheduler
from puckstream.errors import NodeNotRunning

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def test_messages_and_operations_of_one_thread_keep_their_order(
    engine: AnyEngine, doer: AnyKind, threads: Threads
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(doer, heard)

        def send() -> None:
            for number in range(0, 1000, 2):
                ref.tell(number)
                e.system.post(ref._deliver, number + 1)

        await threads.run(send)
        await ref.call("done")
        assert heard == [*range(1000), "done"]


async def test_no_wake_up_is_lost_between_a_sleeping_loop_and_many_threads(
    engine: AnyEngine, threads: Threads
) -> None:
    """Each thread waits for its own operation before it sends the next."""
    async with engine() as e:
        count = 0

        def add() -> int:
            nonlocal count
            count += 1
            return count

        def send() -> list[int]:
            return [e.system.perform(add).get(timeout=20) for _ in range(300)]

        sending = [threads.run(send) for _ in range(4)]
        seen = [number for sent in sending for number in await sent]
        assert sorted(seen) == list(range(1, 1201))


async def test_one_wake_up_serves_all_that_arrives_meanwhile(
    engine: AnyEngine, doer: AnyKind, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)
        loop, woken = asyncio.get_running_loop(), []
        wake = loop.call_soon_threadsafe

        def count(callback: Any, *args: Any, **kwargs: Any) -> Any:
            woken.append(callback)
            return wake(callback, *args, **kwargs)

        done = threading.Event()

        def send() -> None:
            for number in range(1000):
                ref.tell(number)
            done.set()

        monkeypatch.setattr(loop, "call_soon_threadsafe", count)
        sent = threads.run(send)
        assert done.wait(20)  # on the loop's thread, so that it takes nothing in meanwhile
        monkeypatch.undo()
        await sent
        assert len(woken) == 1
        await ref.call("done")
        assert await ref.call(lambda actor: len(actor.heard)) == 1001


async def test_what_arrives_during_a_long_turn_is_taken_in_before_it_ends(
    engine: AnyEngine, doer: AnyKind, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "TURN", 1000.0)
    async with engine() as e:
        heard: list[Any] = []
        sender, *others = [await e.spawn(doer, heard) for _ in range(40)]

        def send(_actor: Doer) -> None:
            done = threading.Event()
            threads.run(lambda: (sender.tell("from a thread"), done.set()))
            assert done.wait(20)

        sender.tell(send)
        for ref in others:
            ref.tell("queued")
        await asyncio.sleep(0)
        assert "from a thread" in heard


async def test_after_the_end_every_operation_is_refused(
    engine: AnyEngine, threads: Threads
) -> None:
    async with engine() as e:
        pass
    for _ in range(2):
        with pytest.raises(NodeNotRunning):
            await threads.run(e.system.post, print)
    assert not e.system.inbound.entries
