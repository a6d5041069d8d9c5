"""Limits: who has a place and who waits (pure), and that a burst cannot take the node."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from puckstream.streams.limits import Limits, Slots, Ticket
from tests.streams.upstream import HEAD, WAIT, Upstream, busy

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


# ------------------------------------------------------------------------------------- tickets


def turns_of(*tickets: Ticket) -> list[int]:
    """Return a list that grows by the number of each ticket whose turn comes."""
    came: list[int] = []
    for number, ticket in enumerate(tickets):
        ticket.on_turn(partial(came.append, number))
    return came


def test_who_waits_has_its_turn_in_the_order_of_coming() -> None:
    slots = Slots(Limits(2, queue=3))
    tickets = [slots.ticket(None, None) for _ in range(5)]
    assert [ticket.may_run for ticket in tickets] == [True, True, False, False, False]
    came = turns_of(*tickets)
    assert came == [0, 1]
    for ticket, after in ((0, [0, 1, 2]), (2, [0, 1, 2, 3]), (1, [0, 1, 2, 3, 4])):
        tickets[ticket].release()
        assert came == after
    assert (slots.running, slots.waiting) == (2, 0)


def test_who_comes_to_a_full_line_is_refused_and_nothing_is_changed() -> None:
    slots = Slots(Limits(1, queue=1))
    first, second = (slots.ticket("c", Limits(5)) for _ in range(2))
    with pytest.raises(puck.TooManyStreams, match="the node is at its limit of 1 streams, and 1"):
        slots.ticket("c", Limits(5))
    first.release()
    second.release()
    assert (slots.running, slots.waiting, slots._gates) == (0, 0, {})


def test_without_a_line_one_more_is_refused_at_once() -> None:
    slots = Slots(Limits(1))
    slots.ticket(None, None)
    with pytest.raises(puck.TooManyStreams) as refused:
        slots.ticket(None, None)
    assert (refused.value.where, refused.value.running, refused.value.waiting) == ("the node", 1, 0)


def test_a_full_client_keeps_only_its_own_waiting() -> None:
    slots = Slots(Limits(10, queue=10))
    slow = [slots.ticket("slow", Limits(1, queue=5)) for _ in range(4)]
    other = [slots.ticket("other", Limits(5)) for _ in range(5)]
    assert [ticket.may_run for ticket in slow] == [True, False, False, False]
    assert all(ticket.may_run for ticket in other)
    assert slots.waiting == 3


def test_what_a_client_lets_through_waits_for_the_node() -> None:
    slots = Slots(Limits(1, queue=5))
    first = slots.ticket(None, None)
    second = slots.ticket("c", Limits(1, queue=5))
    third = slots.ticket("c", Limits(1, queue=5))
    came = turns_of(first, second, third)
    first.release()
    assert came == [0, 1]
    second.release()
    assert came == [0, 1, 2]


def test_who_leaves_the_line_has_no_turn() -> None:
    slots = Slots(Limits(1, queue=5))
    tickets = [slots.ticket(None, None) for _ in range(3)]
    came = turns_of(*tickets)
    tickets[1].release()
    tickets[1].release()
    tickets[0].release()
    assert came == [0, 2]
    assert (slots.running, slots.waiting) == (1, 0)


def test_no_line_remembers_who_has_gone() -> None:
    slots = Slots(Limits(None))
    for number in range(1000):
        slots.ticket(number, Limits(1)).release()
    assert slots._gates == {}


def test_nothing_is_remembered_of_a_client_refused_by_the_node() -> None:
    slots = Slots(Limits(1))
    slots.ticket(None, None)
    for number in range(50):
        with pytest.raises(puck.TooManyStreams, match="the node"):
            slots.ticket(number, Limits(5))
    assert slots._gates == {}


def test_a_ticket_may_change_its_client_and_keeps_its_place_on_the_node() -> None:
    slots = Slots(Limits(4, queue=5))
    moving, there = slots.ticket("a", Limits(1)), slots.ticket("b", Limits(1, queue=1))
    moving.change("b", Limits(1, queue=1))
    assert not moving.may_run
    assert slots.ticket("a", Limits(1)) is not None  # its old place is free, the node's is not
    came = turns_of(moving)
    there.release()
    assert came == [0]
    slots.ticket("full", Limits(1))
    with pytest.raises(puck.TooManyStreams, match="the client"):
        moving.change("full", Limits(1))
    moving.change(None, None)
    assert slots.running == 3


WRONG: dict[str, Any] = {
    "no stream": (lambda: Limits(0), "limits.streams=0"),
    "half a stream": (lambda: Limits(1.5), "limits.streams=1.5"),  # type: ignore[arg-type]
    "a line below zero": (lambda: Limits(1, queue=-1), "limits.queue=-1"),
    "True": (lambda: puck.Node(limits=True), "limits=True"),
    "words": (lambda: puck.Client(Upstream(), limits="few"), "limits='few'"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("make", "named"), WRONG.values(), ids=WRONG.keys())
def test_limits_that_cannot_be_are_refused_by_name(make: Any, named: str) -> None:
    with pytest.raises(puck.InvalidOption) as refused:
        make()
    assert named in str(refused.value)


# ------------------------------------------------------------------------------------- streams


async def test_a_burst_beyond_the_limit_is_refused_and_those_that_run_are_not_disturbed(
    stage: AnyStage, clock: Clock
) -> None:
    upstream = Upstream((WAIT, "well"))
    client = puck.Client(upstream)
    async with puck.Node(clock=clock, limits=3) as node:
        streams = [await node.start_stream(client, "hello") for _ in range(3)]
        for number in range(100):
            with pytest.raises(puck.TooManyStreams):
                await node.start_stream(client, "hello", stream_id=f"more {number}")
        assert not node.streaming("more 0")
        with pytest.raises(puck.StreamNotFound):
            await node.snapshot("more 0")
        upstream.gate.open()
        for stream in streams:
            assert (await stream.result()).content == "well"
        await stage.settle()
        assert (await (await node.start_stream(client, "hello")).result()).content == "well"
    assert upstream.calls == 4


async def test_a_queued_stream_says_so_and_runs_when_there_is_a_place(
    stage: AnyStage, clock: Clock
) -> None:
    upstream = Upstream((WAIT, "well"))
    client = puck.Client(upstream, limits=puck.Limits(1, queue=2))
    async with puck.Node(clock=clock) as node:
        streams = [await node.start_stream(client, "hello") for _ in range(3)]
        audiences = [stage.Audience(node, stream) for stream in streams]
        for audience in audiences:
            await audience.gather()
        await stage.settle()
        statuses = [(await stream.snapshot()).status for stream in streams]
        assert statuses == ["running", "queued", "queued"]
        assert "queued" in str(node.tree())
        for calls in (1, 2, 3):
            assert (upstream.calls, upstream.open_now) == (calls, 1)
            upstream.gate.release()
            await stage.settle()
        for audience in audiences:
            end = await audience.verdict()
            assert audience.seats[0].seen[0].kind == "started"
            assert end.response.content == "well"


async def test_a_place_is_free_only_when_the_connection_is_closed(
    stage: AnyStage, clock: Clock
) -> None:
    upstream = Upstream((HEAD, "a", WAIT), deaf=True)
    client = puck.Client(upstream, limits=puck.Limits(1, queue=1))
    async with puck.Node(clock=clock) as node:
        first = await node.start_stream(client, "hello")
        second = await node.start_stream(client, "hello")
        await stage.until(stage.reached(first, 2))
        assert await first.cancel() == "cancelled"
        await stage.settle()
        assert (await second.snapshot()).status == "queued"
        upstream.gate.release()
        await stage.settle()
        assert (await second.snapshot()).status == "running"
        upstream.gate.open()


@pytest.mark.parametrize("way", ["cancel", "kill", "exit", "total", "shut down", "replace"])
async def test_a_queued_stream_can_be_ended_and_leaves_the_line(
    stage: AnyStage, clock: Clock, way: str
) -> None:
    upstream = Upstream((WAIT, "well"))
    client = puck.Client(upstream, limits=puck.Limits(1, queue=9))
    async with puck.Node(clock=clock) as node:
        await node.start_stream(client, "hello", stream_id="first")
        # The clock of the first chunk begins with its place, that of the whole with its start.
        timeout = puck.Timeout(first=1.0, total=5.0)
        stream = await node.start_stream(client, "hello", stream_id="s", timeout=timeout)
        third = await node.start_stream(client, "hello", stream_id="third")
        audience = stage.Audience(node, stream)
        await audience.gather()
        await clock.elapse(4.0)
        assert (await stream.snapshot()).status == "queued"
        if way == "cancel":
            assert await stream.cancel(wait=True) == "cancelled"
        elif way == "kill":
            stage.owner(node, stream).kill()
        elif way == "exit":
            stage.owner(node, stream).exit("for a reason")
        elif way == "total":
            await clock.elapse(1.0)
        elif way == "replace":
            await node.start_stream(client, "hello", stream_id="s", if_running="replace")
        else:
            await node.shutdown()
        end = await audience.verdict()
        reasons = {"cancel": "user", "total": "timeout_total", "replace": "replaced"}
        if way in ("kill", "exit"):
            assert end.kind == "error"
        else:
            assert (end.kind, end.reason) == ("cancelled", reasons.get(way, "shutdown"))
        if way != "shut down":
            upstream.gate.release()
            await stage.settle()
            assert (await third.snapshot()).status == "running"
            upstream.gate.open()
            await third.wait()
            await stage.settle()
            assert upstream.calls == (3 if way == "replace" else 2)


async def test_every_way_to_end_gives_the_place_back(stage: AnyStage, clock: Clock) -> None:
    def lose(_feed: Any, node: puck.Node, stream: puck.Stream) -> None:
        stage.kill(node, "streams")
        stage.owner(node, stream).kill()

    ways: dict[str, Any] = {
        "done": lambda feed, node, stream: feed.end(),
        "error": lambda feed, node, stream: feed(ValueError("odd")),
        "cancel": lambda feed, node, stream: stream.cancel(),
        "kill": lambda feed, node, stream: stage.owner(node, stream).kill(),
        "exit": lambda feed, node, stream: stage.owner(node, stream).exit("for a reason"),
        "lost": lose,
    }
    async with puck.Node(clock=clock, limits=1) as node:
        for way, end in ways.items():
            feed = stage.Feed()
            stream = await node.start_stream(feed.source)
            await stage.until(feed.started)
            end(feed, node, stream)
            await stream.wait()
            await stage.until(feed.stopped)
            await stage.settle()
            assert node._desk.opening.slots.running == 0, way


async def test_a_stream_whose_actor_cannot_start_gives_its_place_back(
    stage: AnyStage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: object) -> None:
        raise RuntimeError("no start")

    async with puck.Node(clock=clock, limits=1) as node:
        with monkeypatch.context() as patch:
            patch.setattr("puckstream.streams.stream.StreamActor._start_clocks", broken)
            for _ in range(3):
                stream = await node.start_stream(stage.Feed().source)
                assert (await stage.ended(stream)).reason.kind == "crashed"
        assert await node.cancel("s") == "not_found"
        assert (await stage.ended(await node.start_stream(flow, stream_id="s"))).kind == "cancelled"
        assert (await (await node.start_stream(flow)).result()).content == "a"


async def flow(emit: Any) -> None:
    emit("a")


async def test_what_a_stream_starts_counts_with_it_so_that_none_waits_for_its_own_part(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock, limits=puck.Limits(1, queue=5)) as node:

        async def outer(emit: Any) -> None:
            inner = await node.start_stream(flow)
            emit((await inner.result()).content)

        for stream in [await node.start_stream(outer) for _ in range(3)]:
            assert (await stream.result()).content == "a"


async def test_equal_clients_share_their_places_and_others_do_not(
    stage: AnyStage, clock: Clock
) -> None:
    def client(model: str, limit: int = 1) -> puck.Client:
        return puck.Client(f"openai:{model}", base_url="http://[::1]:1", api_key="", limits=limit)

    assert client("a").limits_key == client("a").limits_key
    assert client("a").limits_key != client("b").limits_key
    assert client("a").limits_key != client("a", limit=2).limits_key


async def test_a_fallback_waits_for_its_place_or_is_passed_over(
    stage: AnyStage, clock: Clock
) -> None:
    full = Upstream((WAIT, "full"), provider="full")
    line = Upstream((WAIT, "line"), provider="line")
    down = puck.Client(Upstream((busy(),), provider="down"))
    full_client = puck.Client(full, limits=1)
    line_client = puck.Client(line, limits=puck.Limits(1, queue=1))
    async with puck.Node(clock=clock) as node:
        for client in (full_client, line_client):
            await node.start_stream(client, "hello")
        stream = await node.start_stream(down, "hello", fallback=[full_client, line_client])
        audience = stage.Audience(node, stream)
        await audience.gather()
        await stage.settle()
        assert [event.kind for event in audience.seats[0].seen] == ["started", "retrying"]
        assert audience.seats[0].seen[1].info.provider == "line"
        assert (full.calls, line.calls) == (1, 1)
        line.gate.open()
        assert (await audience.verdict()).response.content == "line"
        assert (full.calls, line.calls) == (1, 2)
        full.gate.open()
