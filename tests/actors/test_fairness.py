"""No actor, however busy, keeps another one, or the loop, from its work."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any

from puckstream.actors.actor import Actor
from puckstream.actors.scheduler import BATCH, DEPTH, INLINE

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Door, Engine, Threads

DEEP = DEPTH * 12
COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


class Busy(Actor):
    """Tells itself to go on, as long as it may."""

    def __init__(self) -> None:
        super().__init__()
        self.handled = 0
        self.may = True

    def on_receive(self, message: Any) -> None:
        self.handled += 1
        if self.may:
            self.actor_ref.tell(message)


class Chain(Actor):
    """Asks the next one, which asks the next one."""

    def __init__(self, next_one: Any) -> None:
        super().__init__()
        self.next_one = next_one

    async def on_receive(self, message: int) -> int:
        if self.next_one is None:
            return message
        answer: int = await self.next_one.call(message + 1)
        return answer


async def test_a_busy_actor_does_not_starve_others_nor_the_loop(engine: type[Engine]) -> None:
    async with engine() as e:
        busy = [await e.spawn(Busy) for _ in range(3)]
        actors: list[Any] = [ref._actor for ref in busy]
        for ref in busy:
            ref.tell("go on")
        for _ in range(20):
            await asyncio.sleep(0)
        counts = [actor.handled for actor in actors]
        assert min(counts) > BATCH
        assert max(counts) - min(counts) <= BATCH
        for actor in actors:
            actor.may = False
        await e.settle()


async def test_an_actor_handles_a_batch_and_then_the_next_one_has_its_turn(
    engine: type[Engine], doer: type[Doer]
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        one, other = await e.spawn(doer, heard), await e.spawn(doer, heard)
        for _ in range(BATCH + 2):
            one.tell("one")
        other.tell("other")
        await e.settle()
        assert heard == ["one"] * BATCH + ["other"] + ["one"] * 2


async def test_requests_answered_inside_their_caller_still_let_the_loop_have_its_turn(
    engine: type[Engine], doer: type[Doer]
) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)
        served: list[int] = []
        asyncio.get_running_loop().call_soon(served.append, 1)
        asked = 0
        while not served:
            assert await ref.call("question") == "question"
            asked += 1
            assert asked <= INLINE + 1
        assert asked > 1


async def test_calls_may_nest_deeper_than_they_are_answered_inline(engine: type[Engine]) -> None:
    async with engine() as e:
        ref = None
        for _ in range(DEEP):
            ref = await e.spawn(Chain, ref)
        assert ref is not None
        for _ in range(3):
            assert await ref.call(0) == DEEP - 1
        assert e.system.depth == 0


async def test_an_idle_actor_answers_before_call_returns(
    engine: type[Engine], doer: type[Doer]
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(doer, heard)
        reply = ref.call("question")
        assert reply.done
        assert await reply == "question"
        ref.tell("first")
        reply = ref.call("after what is queued")
        assert not reply.done
        assert await reply == "after what is queued"
        assert heard == ["question", "first", "after what is queued"]


async def test_messages_of_each_sender_arrive_in_the_order_they_were_sent(
    engine: type[Engine], kind: type[Any], threads: Threads
) -> None:
    senders, count = 3, 2000
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)

        def send(sender: int) -> None:
            for number in range(count):
                ref.tell((sender, number))
            ref.ask("all sent")

        sent = [threads.run(send, sender) for sender in range(senders)]
        for number in range(count):
            ref.tell((senders, number))
            if not number % 100:
                await asyncio.sleep(0)
        for reply in sent:
            await reply
        await ref.stop(block=False)
        for sender in range(senders + 1):
            numbers = [m[1] for m in heard if isinstance(m, tuple) and m[0] == sender]
            assert numbers == list(range(count))


# -- blocking work


async def test_blocking_work_runs_in_another_thread_in_the_actors_context(
    engine: type[Engine], doer: type[Doer]
) -> None:
    def work(number: int) -> tuple[str, bool]:
        return COLOUR.get() * number, threading.current_thread() is not threading.main_thread()

    async def handler(actor: Any) -> Any:
        COLOUR.set("red")
        return await actor.run_in_thread(work, 2)

    async with engine() as e:
        assert await (await e.spawn(doer)).call(handler) == ("redred", True)


async def test_an_error_of_blocking_work_is_the_handlers(
    engine: type[Engine], doer: type[Doer]
) -> None:
    async def handler(actor: Any) -> str:
        try:
            await actor.run_in_thread(int, "x")
        except ValueError:
            return "no number"
        return "a number"

    async with engine() as e:
        assert await (await e.spawn(doer)).call(handler) == "no number"


async def test_an_actor_ends_without_waiting_for_its_blocking_work(
    engine: type[Engine], doer: type[Doer], door: Door
) -> None:
    async def handler(actor: Any) -> None:
        await actor.run_in_thread(door.block)

    async with engine() as e:
        ref = await e.spawn(doer)
        ref.tell(handler)
        await door.reached
        ref.exit("boom")
        assert str(await ref.wait_stopped()) == "boom"
        door.open()
