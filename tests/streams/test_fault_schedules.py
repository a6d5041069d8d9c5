"""Guarantees 1 and 2 under hundreds of random schedules of faults.

A schedule is made from a seed, which every failure names::

    python -m pytest tests/streams/test_fault_schedules.py -k 'seed-12-'
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]

BATCHES = 20
SCHEDULES = 20  # to a batch
STEPS = 25


class Schedule:
    """One node, a few streams with their followers, and whatever chance does to them."""

    def __init__(self, stage: AnyStage, clock: Clock, node: puck.Node, seed: int) -> None:
        self.stage = stage
        self.clock = clock
        self.node = node
        self.chance = random.Random(seed)
        self.feeds: list[Any] = []
        self.audiences: list[Any] = []
        self.streams: list[puck.Stream] = []
        self.pending: list[puck.Reply[Any]] = []
        self.done: list[str] = []

    async def run(self) -> None:
        await self.start()
        acts = [
            *(self.start, self.feed, self.feed, self.feed, self.feed, self.join, self.join),
            *(self.lose_infrastructure, self.lose_infrastructure, self.kill_stream),
            *(self.exit_stream, self.cancel, self.fail, self.finish, self.pass_time, self.leave),
            *(self.breathe, self.breathe, self.breathe),
        ]
        for _ in range(STEPS):
            act = self.chance.choice(acts)
            self.done.append(act.__name__)
            await act()

    async def settle(self) -> None:
        """End what still runs, and hold what everybody saw against the guarantees."""
        for feed in self.feeds:
            feed.end()
        for audience in self.audiences:
            await audience.verdict()
        for reply in self.pending:
            assert reply.done, "a cancel was never answered"
        for feed in self.feeds:
            await self.stage.until(feed.stopped)
            assert feed.runs <= 1, "a source was run twice"

    def pick(self) -> int:
        return self.chance.randrange(len(self.streams))

    # -- what may happen

    async def start(self) -> None:
        feed = self.stage.Feed()
        timeout = self.chance.choice([None, None, None, 5.0, puck.Timeout(first=2.0, idle=3.0)])
        stream = await self.node.start_stream(feed.source, timeout=timeout)
        self.feeds.append(feed)
        self.streams.append(stream)
        self.audiences.append(self.stage.Audience(self.node, stream))
        if self.chance.random() < 0.5:
            await self.audiences[-1].gather()

    async def feed(self) -> None:
        letters = "abcdefgh"[: self.chance.randrange(1, 8)]
        self.feeds[self.pick()](*letters)

    async def join(self) -> None:
        at = self.pick()
        last = self.stage.log(self.streams[at]).last_seq
        after = self.chance.choice([0, 0, max(0, last - 1)])
        if self.chance.random() < 0.5:
            self.audiences[at].reader(after)
        else:
            self.audiences[at].actor_soon(after)

    async def lose_infrastructure(self) -> None:
        self.clock.advance(2.0)  # the root allows three losses in five seconds
        names = [name for name in ("registry", "pubsub", "streams") if self.chance.random() < 0.4]
        way = self.chance.choice([self.stage.kill, self.stage.crash])
        way(self.node, *names[:1] if self.chance.random() < 0.5 else names)
        self.clock.advance(4.0 if len(names) < 2 else 6.0)

    async def kill_stream(self) -> None:
        self.stage.owner(self.node, self.streams[self.pick()]).kill()

    async def exit_stream(self) -> None:
        reason = self.chance.choice(["shutdown", "for a reason", ValueError("odd")])
        self.stage.owner(self.node, self.streams[self.pick()]).exit(reason)

    async def cancel(self) -> None:
        stream = self.streams[self.pick()]
        self.pending.append(stream.cancel(wait=self.chance.random() < 0.5))

    async def fail(self) -> None:
        bad = [ValueError("odd"), asyncio.CancelledError(), SystemExit(1), 5, puck.Chunk("done")]
        self.feeds[self.pick()](self.chance.choice(bad))

    async def finish(self) -> None:
        self.feeds[self.pick()].end()

    async def pass_time(self) -> None:
        await self.clock.elapse(self.chance.choice([0.5, 1.0, 4.0]))

    async def leave(self) -> None:
        """Have somebody follow who is gone a moment later."""
        stream = self.streams[self.pick()]
        left: list[Any] = []
        viewer = await self.node.spawn(self.stage.Viewer, stream.id, 0, left)
        stream.subscribe().close()
        await self.breathe()
        viewer.kill()

    async def breathe(self) -> None:
        await self.stage.turns(self.chance.randrange(4))


@pytest.mark.parametrize("batch", range(BATCHES), ids="seed-{}-".format)
@pytest.mark.parametrize("ending", ["settled", "shut down", "given up"])
async def test_1_no_schedule_of_faults_costs_a_terminal_event_or_an_order(
    stage: AnyStage, batch: int, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    for seed in range(batch * SCHEDULES, (batch + 1) * SCHEDULES, 1 if ending == "settled" else 4):
        clock = stage.Clock()
        async with puck.Node(clock=clock) as node:
            schedule = Schedule(stage, clock, node, seed)
            try:
                await schedule.run()
                if ending == "shut down":
                    await node.shutdown()
                elif ending == "given up":
                    for _ in range(4):
                        stage.kill(node, "pubsub", "streams")
                        await stage.settle()
                await schedule.settle()
            except BaseException as error:
                error.add_note(f"seed {seed}, {ending}: {', '.join(schedule.done)}")
                raise
        assert stage.nothing_left(node), f"seed {seed}, {ending}: something is left"
