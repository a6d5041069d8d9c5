"""Guarantees 1 and 2 under random schedules of faults, on a clock that only the schedule moves.

Everything a schedule does follows from its seed, which a failure names. As many are run as take
a few seconds; ``PUCKSTREAM_SCHEDULES=10000`` runs that many, and ``PUCKSTREAM_SEED=12`` the one
that failed::

    PUCKSTREAM_SEED=12 python -m pytest -s tests/streams/test_fault_schedules.py
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from tests.streams.upstream import HEAD, WAIT, Upstream, busy

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]

SCHEDULES = int(os.environ.get("PUCKSTREAM_SCHEDULES", "2000"))
SEED = os.environ.get("PUCKSTREAM_SEED")
BATCHES = 10 if SEED is None else 1
STEPS = 25
ENDINGS = ("settled", "settled", "settled", "shut down", "drained", "given up")
LETTERS = "abcdefgh"


class Careless(puck.Handler):
    """Fails now and then."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def on_chunk(self, chunk: Any, state: Any) -> Any:
        if self._chance.random() < 0.3:
            raise ValueError("odd")
        return state


class Schedule:
    """One node, a few streams with their followers, and whatever chance does to them."""

    def __init__(self, stage: AnyStage, clock: Clock, node: puck.Node, seed: int) -> None:
        self.stage = stage
        self.clock = clock
        self.node = node
        self.chance = random.Random(seed)
        self.feeds: list[Any] = []
        self.upstreams: list[Upstream] = []
        self.audiences: list[Any] = []
        self.streams: list[puck.Stream] = []
        self.pending: list[puck.Reply[Any]] = []
        self.owners: list[Any] = []
        self.done: list[str] = []
        self.refused = 0

    async def run(self) -> None:
        await self.start()
        acts = [
            *(self.start, self.start_model, self.start_nested, self.replace),
            *(self.feed, self.feed, self.feed, self.feed, self.feed, self.feed),
            *(self.let_on, self.let_on, self.let_on),
            *(self.lose_infrastructure, self.lose_infrastructure, self.kill_stream),
            *(self.exit_stream, self.cancel, self.fail, self.finish, self.kill_worker),
            *(self.join, self.join, self.leave, self.pass_time, self.pass_time),
            *(self.kill_owner, self.breathe, self.breathe, self.breathe),
        ]
        for _ in range(STEPS):
            act = self.chance.choice(acts)
            self.done.append(act.__name__)
            await act()

    async def settle(self, tally: Counter[str]) -> None:
        """End what still runs, and hold what everybody saw against the guarantees."""
        for feed in self.feeds:
            feed.end()
        for upstream in self.upstreams:
            upstream.gate.open()
        for _ in range(3):
            if not all(stream.ended for stream in self.streams):
                await self.clock.elapse(30.0)
        for audience in self.audiences:
            end = await audience.verdict()
            tally[end.kind] += 1
            tally["followers"] += len(audience.seats)
            tally["events seen"] += sum(len(seat.seen) for seat in audience.seats)
        for reply in self.pending:
            assert reply.done, "a cancel was never answered"
        for feed in self.feeds:
            await self.stage.until(feed.stopped)
            assert feed.runs <= 1, "a source was run twice"
        for upstream in self.upstreams:
            assert not upstream.open_now, "a connection is still open"
            assert upstream.calls <= 3, "a model was asked more often than allowed"
        assert self.node._desk.opening.slots.waiting == 0

    def pick(self) -> int:
        return self.chance.randrange(len(self.streams))

    async def begin(self, source: Any, prompt: str | None = None, **options: Any) -> None:
        chance = self.chance
        if chance.random() < 0.2:
            options["handler"] = Careless(random.Random(chance.random()))
        if chance.random() < 0.2:
            options |= {"on_abandoned": "cancel", "grace": chance.choice([0.5, 3.0])}
        if chance.random() < 0.3:
            timeout = puck.Timeout(first=2.0, idle=3.0, total=20.0)
            options["timeout"] = chance.choice([5.0, timeout])
        if chance.random() < 0.2:
            self.owners.append(await self.node.spawn(puck.Actor))
            options["owner"] = self.owners[-1]
        try:
            stream = await self.node.start_stream(source, prompt, **options)
        except (puck.TooManyStreams, puck.NodeNotRunning):
            self.refused += 1
            return
        self.streams.append(stream)
        self.audiences.append(self.stage.Audience(self.node, stream))
        if chance.random() < 0.5:
            await self.audiences[-1].gather()

    def model(self) -> Upstream:
        upstream = Upstream(*(self.answer() for _ in range(3)))
        self.upstreams.append(upstream)
        return upstream

    def answer(self) -> tuple[Any, ...]:
        pool = [
            WAIT,
            WAIT,
            "a",
            "b",
            "c",
            busy(),
            busy(2.0),
            ValueError("odd"),
            busy(kind="server"),
        ]
        rest = self.chance.choices(pool, [9, 9, 9, 9, 9, 2, 1, 1, 1], k=self.chance.randrange(6))
        return (*self.chance.choice([(), (WAIT,)]), HEAD, *rest)

    # -- what may happen

    async def start(self) -> None:
        self.feeds.append(self.stage.Feed())
        await self.begin(self.feeds[-1].source)

    async def start_model(self) -> None:
        limits = self.chance.choice([None, puck.Limits(1, queue=2)])
        others = [puck.Client(self.model()) for _ in range(self.chance.randrange(2))]
        retry = puck.Retry(
            self.chance.randrange(1, 4),
            after_first_token=self.chance.random() < 0.5,
            chance=self.chance.random,
        )
        client = puck.Client(self.model(), limits=limits)
        await self.begin(client, "hello", retry=retry, fallback=others)

    async def start_nested(self) -> None:
        feed, node = self.stage.Feed(), self.node
        self.feeds.append(feed)

        async def nested(emit: Any) -> None:
            inner = await node.start_stream(feed.source)
            self.streams.append(inner)
            self.audiences.append(self.stage.Audience(node, inner))
            async for event in inner.subscribe():
                if isinstance(event, puck.ContentEvent):
                    emit(event.chunk)

        await self.begin(nested)

    async def replace(self) -> None:
        # Who is about to subscribe does so by id, and is to get the run it means.
        await self.stage.settle()
        self.feeds.append(self.stage.Feed())
        stream_id = self.streams[self.pick()].id
        await self.begin(self.feeds[-1].source, stream_id=stream_id, if_running="replace")

    async def feed(self) -> None:
        if self.feeds:
            self.chance.choice(self.feeds)(*LETTERS[: self.chance.randrange(1, 8)])

    async def let_on(self) -> None:
        if self.upstreams:
            self.chance.choice(self.upstreams).gate.release(self.chance.randrange(1, 3))

    async def join(self) -> None:
        at = self.pick()
        stream = self.streams[at]
        last = self.stage.log(stream).last_seq
        after = self.chance.choice([0, 0, max(0, last - 1)])
        if self.chance.random() < 0.5 or not self.is_present(stream):
            self.audiences[at].reader(after)
        else:
            self.audiences[at].actor_soon(after)

    def is_present(self, stream: puck.Stream) -> bool:
        """Whether the id of ``stream`` still means this run of it."""
        record = self.node._shelf.find(stream.id, self.clock.now())
        return record is not None and record.log is self.stage.log(stream)

    async def lose_infrastructure(self) -> None:
        self.clock.advance(2.0)  # the root allows three losses in five seconds
        names = [name for name in ("registry", "pubsub", "streams") if self.chance.random() < 0.4]
        way = self.chance.choice([self.stage.kill, self.stage.crash])
        way(self.node, *names[:1] if self.chance.random() < 0.5 else names)
        self.clock.advance(4.0 if len(names) < 2 else 6.0)

    def owner(self) -> Any:
        stream = self.streams[self.pick()]
        record = self.node._shelf.find(stream.id, 0.0)
        return None if record is None else record.owner

    async def kill_stream(self) -> None:
        owner = self.owner()
        if owner is not None:
            owner.kill()

    async def exit_stream(self) -> None:
        owner = self.owner()
        reason = self.chance.choice(["shutdown", "for a reason", ValueError("odd")])
        if owner is not None:
            owner.exit(reason)

    async def kill_worker(self) -> None:
        owner = self.owner()
        if owner is not None and owner._extra is not None and owner._extra.tasks:
            for task in tuple(owner._extra.tasks.values()):
                task.cancel()

    async def kill_owner(self) -> None:
        if self.owners:
            self.chance.choice(self.owners).kill()

    async def cancel(self) -> None:
        stream = self.streams[self.pick()]
        self.pending.append(stream.cancel(wait=self.chance.random() < 0.5))

    async def fail(self) -> None:
        bad = [ValueError("odd"), asyncio.CancelledError(), SystemExit(1), 5, puck.Chunk("done")]
        self.chance.choice(self.feeds)(self.chance.choice(bad))

    async def finish(self) -> None:
        self.chance.choice(self.feeds).end()

    async def pass_time(self) -> None:
        await self.clock.elapse(self.chance.choice([0.5, 1.0, 4.0]))

    async def leave(self) -> None:
        """Have somebody follow who is gone a moment later."""
        stream = self.streams[self.pick()]
        if self.is_present(stream):
            left: list[Any] = []
            viewer = await self.node.spawn(self.stage.Viewer, stream.id, 0, left)
            stream.subscribe().close()
            await self.breathe()
            viewer.kill()

    async def breathe(self) -> None:
        await self.stage.turns(self.chance.randrange(4))


async def end_node(stage: AnyStage, clock: Clock, node: puck.Node, ending: str) -> None:
    if ending == "shut down":
        await node.shutdown()
    elif ending == "drained":
        drained = asyncio.ensure_future(node.shutdown(drain=5.0))
        await clock.elapse(5.0)
        await drained
    elif ending == "given up":
        for _ in range(4):
            stage.kill(node, "pubsub", "streams")
            await stage.settle()


async def run(stage: AnyStage, seed: int, tally: Counter[str]) -> None:
    clock = stage.Clock()
    ending = ENDINGS[seed % len(ENDINGS)]
    limits = puck.Limits(2, queue=1) if seed % 5 == 0 else None
    async with puck.Node(clock=clock, limits=limits) as node:
        schedule = Schedule(stage, clock, node, seed)
        try:
            await schedule.run()
            await end_node(stage, clock, node, ending)
            await schedule.settle(tally)
        except BaseException as error:
            error.add_note(f"PUCKSTREAM_SEED={seed} ({ending}): {', '.join(schedule.done)}")
            raise
        tally["streams"] += len(schedule.streams)
        tally["acts"] += len(schedule.done)
        tally["starts refused"] += schedule.refused
    assert stage.nothing_left(node), f"PUCKSTREAM_SEED={seed} ({ending}): something is left"


def seeds(batch: int) -> range:
    if SEED is not None:
        return range(int(SEED), int(SEED) + 1)
    return range(batch * SCHEDULES // BATCHES, (batch + 1) * SCHEDULES // BATCHES)


@pytest.mark.time_limit(max(50.0, SCHEDULES / BATCHES))
@pytest.mark.parametrize("batch", range(BATCHES))
async def test_1_no_schedule_of_faults_costs_a_terminal_event_or_an_order(
    stage: AnyStage, batch: int, caplog: pytest.LogCaptureFixture, report: Callable[[str], None]
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    tally: Counter[str] = Counter()
    for seed in seeds(batch):
        await run(stage, seed, tally)
    report(f"{len(seeds(batch))} schedules: {dict(tally)}")


@pytest.fixture
def report() -> Callable[[str], None]:
    """Print what was run; ``pytest -s`` and ``-rP`` show it."""
    return print
