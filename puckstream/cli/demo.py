"""``puckstream demo``: what the library promises, shown in half a minute.

Every step checks what it shows, and the command fails if any of it did not happen. The model is
a scripted one in a process of its own: no key, no network.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.backends.scripted import model_process
from puckstream.errors import PuckstreamError
from puckstream.node import Node
from puckstream.streams.client import Client
from puckstream.streams.handle import Stream
from puckstream.supervision.child import child

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="see supervised streams at work",
        description="Shows and checks the main promises against a scripted model in a process of "
        "its own. Exits 0 only if all of it happened.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per step")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out; returns 0 if everything happened, 1 if not."""
    # A crash on purpose is part of the show, and its log record is not.
    logging.getLogger("puckstream").addHandler(logging.NullHandler())
    logging.getLogger("puckstream").propagate = False
    return asyncio.run(_Demo(as_json=args.json).play())


class Viewer(Actor):
    """A subscriber: collects the text of one stream, and keeps its terminal event."""

    def __init__(self, stream_id: str, ended: Reply[tuple[str, str]]) -> None:
        super().__init__()
        self.stream_id = stream_id
        self.text = ""
        self.ended = ended

    async def on_start(self) -> None:
        """Subscribe from the very first event."""
        await self.node.subscribe(self.stream_id, after=0)

    def on_receive(self, message: Any) -> Any:
        """Take in the stream's events."""
        match message:
            case ("puck_stream", id, ("content", chunk)) if id == self.stream_id:
                self.text += chunk.content
            case ("puck_stream", id, event) if id == self.stream_id and event.terminal:
                self.ended.set((event.kind, self.text))
                self.stop()


class Director(Actor):
    """Starts a stream, and the actors that watch it."""

    async def on_receive(self, message: Any) -> Any:
        """Start what is asked for."""
        match message:
            case ("stream", client, prompt):
                return await self.node.start_stream(client, prompt, subscribe=False)
            case ("viewers", stream_id, count):
                endings: list[Reply[tuple[str, str]]] = [Reply() for _ in range(count)]
                for ended in endings:
                    await self.spawn(Viewer, stream_id, ended)
                return endings


class Counter(Actor):
    """A child that counts, and crashes when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: Any) -> int:
        """Count, or crash."""
        if message == "crash":
            msg = "told to crash"
            raise RuntimeError(msg)
        self.count += 1
        return self.count


class Failed(PuckstreamError):
    """A step of the demo did not show what it should."""


class Step(NamedTuple):
    """What one step showed."""

    title: str
    lines: list[str]
    facts: dict[str, Any]


def _check(condition: object, what: str) -> None:
    if not condition:
        raise Failed(what)


class _Demo:
    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._failures = 0

    async def play(self) -> int:
        """Play every step; returns the exit status."""
        began = time.monotonic()
        self._say("puckstream demo: a scripted model in its own process, no key, no network\n")
        async with Node([child(Counter, id="counter")], name="demo") as node:
            director = await node.spawn(Director)
            steps: list[Callable[[Node, ActorRef[Any]], Awaitable[Step]]] = [
                _tree_before,
                _two_viewers_and_a_late_one,
                _cancel_closes_the_upstream,
                _killed_stream_says_goodbye,
                _crashed_child_comes_back,
                _tree_after,
            ]
            for number, step in enumerate(steps, 1):
                await self._play_step(number, step, node, director)
        seconds = time.monotonic() - began
        if self._as_json:
            print(json.dumps({"ok": not self._failures, "seconds": round(seconds, 3)}))
        elif self._failures:
            self._say(f"\n{self._failures} of it did not happen")
        else:
            self._say(f"\nall of it happened, in {seconds:.1f} s")
        return 1 if self._failures else 0

    async def _play_step(
        self,
        number: int,
        step: Callable[[Node, ActorRef[Any]], Awaitable[Step]],
        node: Node,
        director: ActorRef[Any],
    ) -> None:
        try:
            async with asyncio.timeout(15):
                shown = await step(node, director)
        except (PuckstreamError, TimeoutError, OSError) as error:
            self._failures += 1
            title = (step.__doc__ or "").strip().rstrip(".")
            why = str(error) or "it took more than 15 seconds"
            if self._as_json:
                print(json.dumps({"step": number, "title": title, "ok": False, "error": why}))
            else:
                print(f"\n{number}. {title}\n   FAILED: {why}", file=sys.stderr)
            return
        if self._as_json:
            record = {"step": number, "title": shown.title, "ok": True, **shown.facts}
            print(json.dumps(record, ensure_ascii=False), flush=True)
        else:
            self._say(f"\n{number}. {shown.title}")
            for line in shown.lines:
                self._say(f"   {line}")

    def _say(self, line: str) -> None:
        if not self._as_json:
            print(line, flush=True)


async def _tree_before(node: Node, _director: ActorRef[Any]) -> Step:
    """The supervision tree before."""
    tree = node.tree()
    for name in ("registry", "pubsub", "streams", "app", "counter"):
        _check(tree.find(name), f"{name} is not in the tree")
    return Step("the supervision tree, before", str(tree).splitlines(), {"tree": tree.to_dict()})


async def _two_viewers_and_a_late_one(_node: Node, director: ActorRef[Any]) -> Step:
    """A stream followed by two actors that another actor spawned, and by a late joiner."""
    stream = await director.call(("stream", Client("scripted:story"), "Tell me a story."))
    endings = await director.call(("viewers", stream.id, 2))
    results = [await ended for ended in endings]
    _check(all(kind == "done" for kind, _ in results), f"the viewers saw {results}")
    response = await stream.result()
    _check(all(text == response.content for _, text in results), "the viewers' texts differ")
    (late,) = await director.call(("viewers", stream.id, 1))
    late_kind, late_text = await late
    _check((late_kind, late_text) == ("done", response.content), "the late joiner missed something")
    text = response.content
    lines = [
        f"“{text[:60].strip()}…”",
        f"two viewers: {len(text)} characters each, the same, and 'done' once",
        f"a viewer who came after the end: {len(late_text)} characters, nothing missed",
    ]
    facts = {"characters": len(text), "viewers": 2, "late_joiner": len(late_text)}
    return Step("one stream, two viewers spawned by another actor, one late joiner", lines, facts)


async def _cancel_closes_the_upstream(node: Node, director: ActorRef[Any]) -> Step:
    """A cancel closes the upstream connection, by the model server's own log."""
    client = Client("scripted:slow")
    stream = await director.call(("stream", client, "Take your time."))
    (ended,) = await director.call(("viewers", stream.id, 1))
    await _hear(stream, words=6)
    began = time.monotonic()
    outcome = await node.cancel(stream.id, wait=True)
    milliseconds = (time.monotonic() - began) * 1000
    _check(outcome == "cancelled", f"cancel said {outcome}")
    kind, text = await ended
    _check(kind == "cancelled", f"the viewer saw {kind}")
    again = await node.cancel(stream.id)
    _check(again == "already_cancelled", f"the second cancel said {again}")
    record = await _closed_by_client(node)
    _check(record is not None, "the model server did not see its connection close")
    sent, total = record["tokens_sent"], record["tokens_total"]
    _check(sent < total, f"the model had sent all of its {total} tokens")
    lines = [
        f"the viewer kept “{text.strip()[:50]}” and saw 'cancelled' once",
        f"model server's log: connection closed by the client at token {sent} of {total}",
        f"from cancel to closed: {milliseconds:.1f} ms; cancelling again: {again}",
    ]
    facts = {"tokens_sent": sent, "tokens_total": total, "milliseconds": round(milliseconds, 2)}
    return Step("a cancel, as the model server saw it", lines, facts)


async def _hear(stream: Stream, *, words: int) -> None:
    """Listen until the model has said that much."""
    heard = 0
    async with stream.subscribe() as events:
        async for event in events:
            heard += event.kind == "content"
            if heard == words:
                return


async def _closed_by_client(node: Node) -> Any:
    """Return the model server's own record of the request whose connection the client closed."""
    model = await model_process(node.resources)
    while True:  # the server learns of the close a moment after the client has closed
        for record in await model.log():
            if record["ended"] == "client_closed":
                return record


async def _killed_stream_says_goodbye(node: Node, director: ActorRef[Any]) -> Step:
    """A stream actor killed by hand: its subscribers still get their terminal event."""
    stream = await director.call(("stream", Client("scripted:slow"), "Still there?"))
    endings = await director.call(("viewers", stream.id, 2))
    await _hear(stream, words=3)
    actor = node.whereis(stream.topic)
    _check(actor is not None, "the registry does not know the stream")
    assert actor is not None
    actor.kill()
    results = [await ended for ended in endings]
    _check(all(kind == "error" for kind, _ in results), f"the viewers saw {results}")
    event = await stream.wait()
    _check(event.kind == "error" and event[1].kind == "killed", f"the stream ended with {event}")
    lines = [
        f"killed {stream.topic} while the model was talking",
        f"both viewers got their terminal event: {event[1]}",
    ]
    facts = {"terminal": "error", "kind": event[1].kind, "viewers": len(results)}
    return Step("a stream's actor, killed by hand", lines, facts)


async def _crashed_child_comes_back(node: Node, _director: ActorRef[Any]) -> Step:
    """A child that crashes and is restarted by its supervisor."""
    before = node.whereis_child("counter")
    assert before is not None
    counted = await before.call("count")
    before.tell("crash")
    await before.wait_stopped()
    # 'app' restarts it while it serves this: the answer comes after the restart.
    await node.app.count_children()
    after = node.whereis_child("counter")
    _check(after is not None and after is not before, "the child was not replaced")
    assert after is not None
    fresh = await after.call("count")
    row = node.tree().find("counter")
    _check(row is not None and row.restart_count == 1, "the tree does not show the restart")
    lines = [
        f"it had counted to {counted}, crashed, and was restarted by 'app'",
        f"the new one counts from {fresh}; restarts in the tree: 1",
    ]
    facts = {"counted_before": counted, "counted_after": fresh, "restarts": 1}
    return Step("a child that crashes, and comes back", lines, facts)


async def _tree_after(node: Node, _director: ActorRef[Any]) -> Step:
    """The supervision tree after."""
    tree = node.tree()
    streams = tree.find("streams")
    _check(streams is not None and not streams.children, "a stream is left over")
    return Step("the supervision tree, after", str(tree).splitlines(), {"tree": tree.to_dict()})
