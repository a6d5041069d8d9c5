"""A thousand streams cancelled at random moments, on a pool of two connections.

Every one has its terminal event, every upstream connection is closed as the server saw it, and
the pool is as good as new.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from puckstream.backends.http import HttpPool
from puckstream.testing.model_server import ModelServer
from puckstream.testing.script import Fault, Script

if TYPE_CHECKING:
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]

SEED = 20
STREAMS = 1000
CONNECTIONS = 2
AT_ONCE = 12  # two that stream and ten that wait for a connection
TOKENS = 8

TEXT = "one two three four five six seven eight"
SCRIPTS = {
    "before-head": Script(text=TEXT, fault=Fault("stall", after=None)),
    "silent": Script(text=TEXT, fault=Fault("stall", after=0)),
    "mid-text": Script(text=TEXT, fault=Fault("stall", after=TOKENS - 1)),
    "whole": Script(text=TEXT),
}
MOMENTS = {
    "at once": "whole",
    "on the way": "whole",
    "before the head": "before-head",
    "silent": "silent",
    "mid-text": "mid-text",
    "twice": "mid-text",
    "and killed": "mid-text",
    "at the last chunk": "whole",
}


class Recorder(puck.Actor):
    """Follows every stream, and writes down what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[Any]] = defaultdict(list)

    def on_receive(self, message: Any) -> Any:
        match message:
            case ("puck_stream", stream_id, event):
                self.seen[stream_id].append(event)
            case "seen":
                return self.seen
            case _:
                pass
        return None


class Run:
    """What the test knows while it goes on."""

    def __init__(self, stage: AnyStage, node: puck.Node, server: ModelServer) -> None:
        self.stage = stage
        self.node = node
        self.server = server
        self.chance = random.Random(SEED)
        self.outcomes: Counter[str] = Counter()

    def client(self, number: int, script: str) -> puck.Client:
        # What follows the last slash of a model's name is its script.
        model = f"openai:{number}/{script}"
        return puck.Client(model, base_url=self.server.url, max_connections=CONNECTIONS)

    async def arrived(self, model: str) -> None:
        """Wait until the server has the request."""
        while True:
            latest = itertools.islice(reversed(self.server._exchanges), 2 * AT_ONCE)
            if any(exchange._asked.model == model for exchange in latest):
                return
            await asyncio.sleep(0)

    async def one(self, number: int, recorder: Any) -> None:
        moment = self.chance.choice(list(MOMENTS))
        script = MOMENTS[moment]
        stream = await self.node.start_stream(self.client(number, script), "hello")
        await self.node.subscribe(stream.id, subscriber=recorder)
        turns, tokens = self.chance.randrange(60), self.chance.randrange(1, TOKENS)
        wait = self.chance.random() < 0.5
        if moment == "on the way":
            await self.stage.turns(turns)
        elif moment in ("before the head", "silent"):
            await self.arrived(f"{number}/{script}")
            await self.stage.turns(turns % 20)
        elif moment in ("mid-text", "twice", "and killed"):
            await self.content(stream, tokens)
        elif moment == "at the last chunk":
            await self.content(stream, TOKENS)
        owner = self.stage.owner(self.node, stream)
        cancels = [self.node.cancel(stream.id, wait=wait)]
        if moment == "twice":
            await self.stage.turns(turns % 3)
            cancels += [self.node.cancel(stream.id, wait=True) for _ in range(2)]
        elif moment == "and killed":
            # The worker is cancelled a second time while it closes the connection.
            await self.stage.until(lambda: stream.ended)
            await self.stage.turns(turns % 4)
            owner.kill()
        said = [await cancel for cancel in cancels]
        self.outcomes[f"{moment}: {said[0]}"] += 1
        assert stream.ended

    async def content(self, stream: puck.Stream, count: int) -> None:
        """Read up to the chunk of that number."""
        async with stream.subscribe() as events:
            async for event in events:
                count -= event.kind == "content"
                if not count:
                    return

    async def all(self, recorder: Any) -> None:
        numbers = iter(range(STREAMS))

        async def work() -> None:
            for number in numbers:
                await self.one(number, recorder)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


async def test_a_thousand_cancels_on_a_pool_of_two_leave_nothing_open(
    stage: AnyStage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # kills are reported, each of them
    async with ModelServer(SCRIPTS) as server:
        async with puck.Node() as node:
            recorder = await node.spawn(Recorder)
            run = Run(stage, node, server)
            await run.all(recorder)

            seen = await recorder.call("seen")
            assert len(seen) == STREAMS
            for events in seen.values():
                assert [event.seq for event in events] == list(range(1, len(events) + 1))
                assert [event.terminal for event in events].count(True) == 1
                assert events[-1].kind in ("cancelled", "done")
            for moment in MOMENTS:
                assert run.outcomes[f"{moment}: cancelled"] > 10, run.outcomes

            # As the server saw it: whoever was cancelled has hung up, or had it all.
            await stage.until(lambda: all(record.ended for record in server.records))
            for record in server.records:
                assert record.ended in ("client_closed", "complete"), record
                assert record.closed or record.ended == "complete", record
                if record.script != "whole":
                    assert (record.ended, record.closed) == ("client_closed", True), record
            assert server.connections <= CONNECTIONS

            # And the pool is as good as new.
            (pool,) = [
                opened.result()
                for opened in node.resources._opened.values()
                if isinstance(opened.result(), HttpPool)
            ]
            await stage.until(lambda: pool.free == CONNECTIONS)
            after = [
                await node.start_stream(run.client(number, "whole"), "hello", timeout=10.0)
                for number in range(STREAMS, STREAMS + 2 * CONNECTIONS)
            ]
            assert [(await stream.result()).content for stream in after] == [TEXT] * len(after)
            await stage.until(lambda: "stream " not in str(node.tree()))
            assert not [task for task in asyncio.all_tasks() if ":worker" in task.get_name()]
            assert not stage.zombies(node)
        assert stage.nothing_left(node)
        await server.wait_connections(0)
        assert all(record.closed for record in server.records)
