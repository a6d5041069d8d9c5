"""The link between two nodes: an unbroken sequence of frames, or nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from puckstream.errors import BadFrame, FrameTooLarge
from puckstream.transports import frame
from puckstream.transports.codec import Codec
from puckstream.transports.frame import Kind
from puckstream.transports.greeting import Greeting, NodeId
from puckstream.transports.link import (
    MAX_BYTES,
    MAX_FRAMES,
    Down,
    Link,
    Pace,
    Received,
    Recovered,
    State,
    Suspected,
    Up,
)

CODEC = Codec()
PACE = Pace()
A = Greeting(NodeId("a", b"incarnation1"), "team", ("ipc:///run/a",))
B = Greeting(NodeId("b", b"incarnation2"), "team", ("tcp://127.0.0.1:7900",))


class Wire:
    """Two links, and what carries their frames."""

    def __init__(self, one: Greeting = A, other: Greeting = B) -> None:
        self.now = 0.0
        self.a = Link(one, CODEC, self.now)
        self.b = Link(other, CODEC, self.now)
        self.lost: set[int] = set()  # of the next frames from a to b, which do not arrive

    def carry(self) -> None:
        """Move frames until neither has any left."""
        while self.a.outbox or self.b.outbox:
            for source, target in ((self.a, self.b), (self.b, self.a)):
                for data in sent(source, self.now):
                    target.receive(data, self.now)

    def up(self) -> Wire:
        self.carry()
        assert events(self.a) == [Up(self.b._me)]
        assert events(self.b) == [Up(self.a._me)]
        return self

    def pass_time(self, seconds: float, *, carrying: bool = True) -> None:
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            self.a.tick(self.now)
            self.b.tick(self.now)
            if carrying:
                self.carry()


def sent(link: Link, now: float) -> list[bytes]:
    """Take what a link wants sent."""
    frames = list(link.outbox)
    for _ in frames:
        link.took(now)
    return frames


def events(link: Link) -> list[Any]:
    taken = list(link.events)
    link.events.clear()
    return taken


def bodies(link: Link) -> list[bytes]:
    return [event.body for event in events(link) if isinstance(event, Received)]


# -- greeting


def test_a_greeting_is_these_bytes_for_ever() -> None:
    (hello,) = sent(Link(A, CODEC, 0.0), 0.0)
    assert hello.hex() == (
        "504b010100000001"
        "9b0101a47465616da161c40c696e6361726e6174696f6e31"
        "91ac6970633a2f2f2f72756e2f6190ce00100000c400c400a0"
    )


def test_both_ends_are_up_once_each_has_been_greeted_and_welcomed() -> None:
    wire = Wire()
    assert wire.a.state is State.OPENING
    (hello,) = sent(wire.a, 0.0)
    wire.b.receive(hello, 0.0)
    assert wire.b.state is State.OPENING, "greeted, but not welcomed"
    wire.carry()
    assert (wire.a.state, wire.b.state) == (State.UP, State.UP)
    assert wire.a.peer == B


def test_nothing_is_sent_before_the_link_is_up() -> None:
    wire = Wire()
    assert not wire.a.send(Kind.CAST, b"early")
    wire.up()
    assert wire.a.send(Kind.CAST, b"now")
    wire.carry()
    assert bodies(wire.b) == [b"now"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (replace(B, cluster="other"), "cluster 'other', this is 'team'"),
        (replace(B, oldest=2, newest=3), "versions 2 to 3, this node has 1 to 1"),
        (A, "it is this node itself"),
        (replace(B, node=NodeId("a", b"incarnation2")), "it calls itself 'a', as this node does"),
    ],
)
def test_nodes_that_cannot_link_end_both_ends_and_say_why(other: Greeting, why: str) -> None:
    wire = Wire(other, A)
    wire.b.receive(sent(wire.a, 0.0)[0], 0.0)
    wire.carry()
    (refused,), (told,) = events(wire.b), events(wire.a)
    assert why in refused.detail
    for link, down in ((wire.a, told), (wire.b, refused)):
        assert down.reason == "protocol"
        assert link.state is State.DOWN


@pytest.mark.parametrize("other", [replace(B, cluster="other"), replace(B, oldest=2, newest=3)])
def test_the_end_that_refuses_says_why_to_the_other(other: Greeting) -> None:
    wire = Wire(A, other)
    wire.a.receive(sent(wire.b, 0.0)[0], 0.0)
    (refused,) = events(wire.a)
    for data in sent(wire.a, 0.0)[1:]:  # without its greeting, which would be refused likewise
        kind, _, body = frame.decode(data)
        assert kind == Kind.BYE
        assert CODEC.unpack(body) == ["protocol", refused.detail]


def test_a_later_version_may_add_to_the_greeting() -> None:
    parts = CODEC.unpack(B.pack(CODEC))
    assert Greeting.unpack(CODEC, CODEC.pack([*parts, "new", {}])) == B


@pytest.mark.parametrize(
    "change",
    [
        {0: "1"},
        {3: ""},
        {3: "x" * 201},
        {4: b"short"},
        {5: "ipc:///run/a"},
        {5: [1]},
        {8: None},
    ],
)
def test_what_is_no_greeting_is_refused(change: dict[int, Any]) -> None:
    parts = CODEC.unpack(B.pack(CODEC))
    for index, value in change.items():
        parts[index] = value
    with pytest.raises(BadFrame, match="greeting"):
        Greeting.unpack(CODEC, CODEC.pack(parts))


def test_a_greeting_that_nobody_answers_is_refused_after_a_while() -> None:
    link = Link(A, CODEC, 0.0)
    link.tick(PACE.open - 0.01)
    assert link.state is State.OPENING
    link.tick(PACE.open)
    assert events(link) == [Down("refused", "no greeting within 1.0 s")]
    assert not link.outbox


# -- sequence


def test_frames_arrive_in_order_and_once() -> None:
    wire = Wire().up()
    for number in range(100):
        wire.a.send(Kind.CAST, b"%d" % number)
    for data in sent(wire.a, 0.0):
        wire.b.receive(data, 0.0)
        wire.b.receive(data, 0.0)
    assert bodies(wire.b) == [b"%d" % number for number in range(100)]
    assert wire.b.state is State.UP


def test_a_frame_that_is_missing_ends_the_link_and_nothing_after_it_arrives() -> None:
    wire = Wire().up()
    for number in range(4):
        wire.a.send(Kind.CAST, b"%d" % number)
    frames = sent(wire.a, 0.0)
    del frames[1]
    for data in frames:
        wire.b.receive(data, 0.0)
    first, down = events(wire.b)
    assert first == Received(Kind.CAST, b"0")
    assert down == Down("gap", "bad frame (gap): frame 5 where 4 was due")
    assert not wire.b.send(Kind.CAST, b"")


def test_the_sequence_wraps_around() -> None:
    wire = Wire().up()
    last = 0xFFFF_FFFF
    wire.a._sent = wire.b._heard = last - 2
    for number in range(5):
        wire.a.send(Kind.CAST, b"%d" % number)
    frames = sent(wire.a, 0.0)
    assert [frame.decode(data).seq for data in frames] == [last - 1, last, 1, 2, 3]
    for data in [*frames[:3], *frames]:
        wire.b.receive(data, 0.0)
    assert bodies(wire.b) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_frame_without_a_number_is_a_gap() -> None:
    wire = Wire().up()
    wire.b.receive(b"PK\x01\x10\x00\x00\x00\x00", 0.0)
    (down,) = events(wire.b)
    assert down.reason == "gap"


# -- silence


def test_an_idle_link_stays_up_by_heartbeats_alone() -> None:
    wire = Wire().up()
    wire.pass_time(60.0)
    assert (events(wire.a), events(wire.b)) == ([], [])


def test_who_sends_frames_sends_no_heartbeats() -> None:
    wire = Wire().up()
    kinds = []
    for _ in range(20):
        wire.now += 0.25
        wire.a.send(Kind.CAST, b"")
        wire.a.tick(wire.now)
        kinds += [frame.decode(data).kind for data in sent(wire.a, wire.now)]
    assert set(kinds) == {Kind.CAST}


def test_a_silent_node_is_suspected_then_given_up() -> None:
    wire = Wire().up()
    wire.pass_time(PACE.suspect, carrying=False)
    assert events(wire.a) == [Suspected()]
    assert wire.a.send(Kind.CAST, b"kept"), "what is sent to a suspect is kept"
    wire.pass_time(PACE.down - PACE.suspect, carrying=False)
    (down,) = events(wire.a)
    assert down == Down("timeout", "silent for 2.0 s")
    assert not wire.a.outbox


def test_a_suspect_that_is_heard_again_has_missed_nothing() -> None:
    wire = Wire().up()
    wire.pass_time(PACE.suspect + 0.25, carrying=False)
    wire.a.send(Kind.CAST, b"meanwhile")
    wire.carry()
    assert events(wire.a) == [Suspected(), Recovered()]
    assert events(wire.b) == [Suspected(), Recovered(), Received(Kind.CAST, b"meanwhile")]


# -- bounds and junk


def test_a_node_that_reads_too_slowly_is_given_up_by_number_and_by_size() -> None:
    wire = Wire().up()
    taken = sum(wire.a.send(Kind.CAST, b"") for _ in range(MAX_FRAMES + 1))
    assert taken == MAX_FRAMES
    (down,) = events(wire.a)
    assert down.reason == "overflow"
    body = b"x" * (1 << 19)
    taken = sum(wire.b.send(Kind.CAST, body) for _ in range(40))
    assert taken == MAX_BYTES // (len(body) + 8)
    (down,) = events(wire.b)
    assert down.reason == "overflow"


def test_what_the_channel_took_no_longer_counts() -> None:
    wire = Wire().up()
    for _ in range(3 * MAX_FRAMES):
        assert wire.a.send(Kind.CAST, b"x" * 2_000)
        wire.a.took(0.0)


def test_a_frame_that_is_too_large_leaves_the_link_as_it_was() -> None:
    wire = Wire().up()
    with pytest.raises(FrameTooLarge):
        wire.a.send(Kind.CAST, b"x" * (1 << 20))
    wire.a.send(Kind.CAST, b"next")
    wire.carry()
    assert bodies(wire.b) == [b"next"]


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        frame.encode(Kind.HELLO, 3, A.pack(CODEC)),
        frame.encode(Kind.BYE, 3, b"\xc1"),
        frame.encode(Kind.BYE, 3, CODEC.pack(["who", "knows"])),
    ],
)
def test_junk_ends_the_link_and_the_other_end_learns_why(junk: bytes) -> None:
    wire = Wire().up()
    wire.a.receive(junk, 0.0)
    (down,) = events(wire.a)
    assert down.reason == "protocol"
    wire.carry()
    (told,) = events(wire.b)
    assert told.reason == "protocol"
    assert told.detail.startswith("bad frame")


def test_nothing_is_taken_in_before_the_greeting_nor_before_the_welcome() -> None:
    link = Link(A, CODEC, 0.0)
    link.receive(frame.encode(Kind.CAST, 1, b""), 0.0)
    (down,) = events(link)
    assert "before the greeting" in down.detail
    link = Link(A, CODEC, 0.0)
    link.receive(frame.encode(Kind.HELLO, 1, B.pack(CODEC)), 0.0)
    link.receive(frame.encode(Kind.CAST, 2, b""), 0.0)
    (down,) = events(link)
    assert "before the welcome" in down.detail


def test_a_kind_of_a_later_version_is_passed_over() -> None:
    wire = Wire().up()
    wire.b.receive(b"PK\x01\x90\x00\x00\x00\x03later", 0.0)
    wire.a._sent = 3
    wire.a.send(Kind.CAST, b"next")
    wire.carry()
    assert bodies(wire.b) == [b"next"]


# -- the end


def test_a_goodbye_ends_both_ends_and_what_was_sent_before_arrives() -> None:
    wire = Wire().up()
    wire.a.send(Kind.CAST, b"last words")
    wire.a.close("shutting down")
    wire.carry()
    assert events(wire.a) == [Down("bye", "shutting down")]
    assert events(wire.b) == [Received(Kind.CAST, b"last words"), Down("bye", "shutting down")]


def test_the_end_comes_once_whatever_happens_afterwards() -> None:
    wire = Wire().up()
    wire.a.lost("restarted", "a new incarnation")
    assert events(wire.a) == [Down("restarted", "a new incarnation")]
    wire.a.lost("timeout")
    wire.a.close()
    wire.a.receive(b"junk", 1.0)
    wire.a.tick(100.0)
    assert not wire.a.send(Kind.CAST, b"")
    assert events(wire.a) == []
    assert not wire.a.outbox


@pytest.mark.parametrize("seed", range(50))
def test_under_random_faults_what_arrives_is_a_beginning_of_what_was_sent(seed: int) -> None:
    """Loss, duplication and delay of frames: never a hole, never a double, never out of order."""
    chance = random.Random(seed)
    wire = Wire().up()
    faults = chance.choice([0.0, 0.01, 0.1])
    said = {wire.a: 0, wire.b: 0}
    heard: dict[Link, list[bytes]] = {wire.a: [], wire.b: []}
    for _ in range(300):
        wire.now += chance.choice([0.0, 0.1, 0.3])
        for source, target in ((wire.a, wire.b), (wire.b, wire.a)):
            for _ in range(chance.randrange(4)):
                said[source] += source.send(Kind.CAST, b"%d" % said[source])
            if chance.random() < 0.3:
                continue  # the channel takes nothing now
            for data in sent(source, wire.now):
                if chance.random() < faults:
                    continue
                for _ in range(1 + (chance.random() < 0.1)):
                    target.receive(data, wire.now)
            source.tick(wire.now)
            heard[target] += bodies(target) if target.state is State.UP else []
    for target, arrived in heard.items():
        assert arrived == [b"%d" % number for number in range(len(arrived))]
        if not faults:
            assert target.state in {State.UP, State.SUSPECT}
