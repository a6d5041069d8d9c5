"""Functions as supervised tasks: awaited, streamed, by message, retried, and spread by key."""

import asyncio
import logging
from typing import Any

import puckstream as puck

COUNTS = {"moon": 12, "sky": 9, "sea": 9}


async def count_words(subject: str) -> int:
    await asyncio.sleep(0.01)  # where a model would be asked
    return COUNTS[subject]


async def stuck() -> None:
    await asyncio.Event().wait()


async def send(attempts: list[int], sent: asyncio.Event) -> None:
    attempts.append(len(attempts) + 1)
    if len(attempts) < 3:
        raise ConnectionError
    sent.set()


class Writer(puck.Actor):
    """Starts a task, and goes on with its work until the result comes as a message."""

    def __init__(self, tasks: Any, told: asyncio.Event) -> None:
        super().__init__()
        self.tasks, self.told, self.words = tasks, told, 0

    async def on_start(self) -> None:
        self.task = await self.tasks.run(count_words, "moon")

    def on_receive(self, message: Any) -> None:
        match message:
            case puck.TaskReply(task, words) if task is self.task:
                self.words = words
            case puck.Down(_, _, reason):
                print(f"by message: {self.words} words, then {reason}")
                self.told.set()
            case _:
                print("unexpected:", message)


async def main() -> None:
    logging.getLogger("puckstream").setLevel(logging.CRITICAL)  # failures are part of the show
    pool = puck.child(puck.PartitionSupervisor, puck.TaskSupervisor, partitions=4, name="pool")
    async with puck.Node([puck.child(puck.TaskSupervisor, name="tasks"), pool]) as node:
        tasks: Any = node.whereis("tasks")
        task = await tasks.run(count_words, "sky")
        print("awaited:", await task, "words")
        task = await tasks.run(stuck)
        try:
            await task.result(timeout=0.05)
        except puck.CallTimeout:
            await task.cancel()
            left = await tasks.count_children()
            print(f"too slow: cancelled, and {left.specs} tasks are left")
        counts = [n async for n in tasks.stream(count_words, COUNTS, max_concurrency=2)]
        print("in order:", ", ".join(f"{s} {n}" for s, n in zip(COUNTS, counts, strict=True)))
        told = asyncio.Event()
        await node.spawn(Writer, tasks, told)
        await told.wait()
        attempts, sent = list[int](), asyncio.Event()
        await tasks.start_child(send, attempts, sent, restart="transient")
        await sent.wait()
        print("retried: sent at attempt", attempts[-1])
        spread: Any = node.whereis("pool")
        ann, bob = spread.partition("ann"), spread.partition("bob")
        print("spread:", ann is not bob and ann is spread.partition("ann"))


asyncio.run(main())
