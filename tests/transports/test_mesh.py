"""Nodes find each other, have one link each, and notice when it breaks; in memory, with faults."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from puckstream.testing.clock import VirtualClock
from puckstream.transports.codec import Codec
from puckstream.transports.frame import Kind
from puckstream.transports.greeting import Greeting, NodeId
from puckstream.transports.memory import Faults, Network
from puckstream.transports.mesh import Mesh

CODEC = Codec()


class Ears:
    """A listener that keeps what it is told, as short tuples."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def node_up(self, node: NodeId, greeting: Greeting) -> None:
        assert greeting.node == node
        self.heard.append(("up", node.name))

    def node_suspect(self, node: NodeId) -> None:
        self.heard.append(("suspect", node.name))

    def node_recovered(self, node: NodeId) -> None:
        self.heard.append(("recovered", node.name))

    def node_down(self, node: NodeId, reason: str, detail: str) -> None:
        del detail
        self.heard.append(("down", node.name, reason))

    def received(self, node: NodeId, kind: int, body: bytes) -> None:
        assert kind == Kind.CAST
        self.heard.append((node.name, body))

    def take(self) -> list[tuple[Any, ...]]:
        taken, self.heard = self.heard, []
        return taken

    def of(self, name: str) -> list[bytes]:
        return [event[1] for event in self.heard if event[0] == name]


class World:
    """Some nodes on one network, on a clock moved by hand."""

    def __init__(self, seed: int = 0) -> None:
        self.clock = VirtualClock()
        self.chance = random.Random(seed)
        self.network = Network(self.clock, self.chance)
        self.meshes: dict[str, Mesh] = {}
        self.ears: dict[str, Ears] = {}
        self._lives = itertools.count()

    def node(self, name: str, *seeds: str, address: str | None = None, **change: Any) -> Mesh:
        """Open a node that others reach at its name."""
        node = NodeId(name, b"%012d" % next(self._lives))
        mesh = Mesh(
            replace(Greeting(node, "team"), **change),
            CODEC,
            self.network.transport(address or name),
            ears := Ears(),
            self.clock,
            chance=self.chance,
        )
        self.meshes[name], self.ears[name] = mesh, ears
        run(mesh.open(seeds))
        return mesh

    def crash(self, name: str) -> None:
        """Let a node vanish without a word, as one that was killed."""
        mesh = self.meshes.pop(name)
        mesh._open = False
        assert mesh._timer is not None
        mesh._timer.cancel()
        run(mesh._transport.close())

    def ids(self, name: str) -> list[str]:
        return sorted(node.name for node in self.meshes[name].nodes)

    def whole(self) -> bool:
        return all(self.ids(name) == sorted(self.meshes.keys() - {name}) for name in self.meshes)

    def say(self, source: str, target: str, body: bytes) -> bool:
        mesh = self.meshes[source]
        node = next((node for node in mesh.nodes if node.name == target), None)
        return node is not None and mesh.send(node, Kind.CAST, body)


def run(coroutine: Any) -> None:
    """Run what needs no loop."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    for mesh in world.meshes.values():
        run(mesh.close())


# -- finding each other


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_two_nodes_of_one_network_link_at_once_whoever_came_first(world: World, names: str) -> None:
    for name in names:
        world.node(name)
    world.clock.advance(0.5)
    assert world.whole()
    assert [ears.take() for ears in world.ears.values()] == [[("up", names[1])], [("up", names[0])]]


def test_sixteen_nodes_link_each_to_each_and_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"n{number:02d}" for number in range(16)]
    for name in names:
        world.node(name)
    world.clock.advance(3.0)
    assert world.whole()
    for name, ears in world.ears.items():
        assert sorted(ears.take()) == [("up", other) for other in names if other != name]
    assert not caplog.records
    world.clock.advance(300.0)
    assert all(ears.take() == [] for ears in world.ears.values())


def test_more_than_sixteen_nodes_are_warned_about_once_each(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(18):
        world.node(f"n{number:02d}")
    world.clock.advance(5.0)
    assert world.whole()
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 18


def test_two_nodes_that_call_each_other_at_once_have_one_link() -> None:
    for seed in range(200):
        world = World(seed)
        world.network.faults = Faults(delay=(0.0, 0.3))
        world.node("a", "b")
        world.node("b", "a")
        world.clock.advance(5.0)
        assert world.whole()
        for ears in world.ears.values():
            assert len([event for event in ears.heard if event[0] == "up"]) == 1, seed
        assert len(world.meshes["a"]._by_channel) == len(world.meshes["b"]._by_channel) == 1


def test_an_address_under_another_name_makes_no_second_link(world: World) -> None:
    """A seed may be a host name, of which the node behind it knows nothing."""
    target = world.node("a")
    world.network._at["alias.example"] = world.network._at["a"]
    world.node("b", "alias.example")
    world.node("B", "alias.example")  # smaller than a, where b is larger
    world.clock.advance(120.0)
    assert world.whole()
    for ears in world.ears.values():
        assert [event[0] for event in ears.heard] == ["up", "up"]
    assert len(target._by_channel) == 2


def test_a_node_that_calls_itself_notices(world: World) -> None:
    world.network._at["me.example"] = world.network.transport("unused")
    mesh = world.node("a", "me.example")
    world.network._at["me.example"] = world.network._at["a"]
    world.clock.advance(5.0)
    assert mesh.nodes == {}
    assert mesh._by_channel == {}
    assert "me.example" in mesh._own


# -- messages


def test_frames_arrive_in_order_and_once_both_ways(world: World) -> None:
    world.node("a")
    world.node("b")
    world.clock.advance(1.0)
    for number in range(5_000):
        assert world.say("a", "b", b"%d" % number)
        assert world.say("b", "a", b"%d" % number)
    world.clock.advance(1.0)
    wanted = [b"%d" % number for number in range(5_000)]
    assert world.ears["b"].of("a") == wanted
    assert world.ears["a"].of("b") == wanted


def test_what_is_sent_to_nobody_is_refused(world: World) -> None:
    mesh = world.node("a")
    assert not mesh.send(NodeId("b", b"x" * 12), Kind.CAST, b"")


# -- when links break


def test_a_node_that_vanishes_is_down_within_two_and_a_half_seconds(world: World) -> None:
    world.node("a")
    world.node("b")
    world.clock.advance(1.0)
    world.crash("b")
    world.clock.advance(2.5)
    assert world.ears["a"].take() == [("up", "b"), ("suspect", "b"), ("down", "b", "timeout")]


def test_a_node_that_says_goodbye_is_down_at_once_with_everything_it_said(world: World) -> None:
    world.node("a")
    world.node("b")
    world.clock.advance(1.0)
    world.say("b", "a", b"last")
    run(world.meshes.pop("b").close("shutting down"))
    world.clock.advance(0.0)
    assert world.ears["a"].take() == [("up", "b"), ("b", b"last"), ("down", "b", "bye")]


def test_a_node_that_starts_anew_takes_the_place_of_its_former_self(world: World) -> None:
    world.node("a")
    world.node("b")
    world.clock.advance(1.0)
    world.crash("b")
    world.node("b")
    world.clock.advance(1.0)
    assert world.ears["a"].take() == [("up", "b"), ("down", "b", "restarted"), ("up", "b")]
    assert not world.say("b", "nobody", b"")


def test_an_older_self_does_not_come_back(world: World) -> None:
    """Two processes of one name: the newer has it, and the older is told."""
    world.node("a")
    old = world.node("b", address="b-old")
    world.clock.advance(1.0)
    world.node("b", address="b-new")
    world.clock.advance(10.0)
    ups = [event for event in world.ears["a"].take() if event[0] != "suspect"]
    assert ups == [("up", "b"), ("down", "b", "restarted"), ("up", "b")]
    assert old.nodes == {}
    assert old.refused["refused"] >= 1
    run(old.close())


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0, 3.0, 6.0, 30.0])
def test_a_partition_that_heals_is_a_new_link_within_a_second_and_a_half(
    world: World, seconds: float
) -> None:
    world.node("a")
    world.node("b")
    world.clock.advance(1.0)
    world.network.part(["a"], ["b"])
    world.clock.advance(seconds)
    world.network.heal()
    world.clock.advance(1.5)
    assert world.whole()
    kinds = [event[0] for event in world.ears["a"].take() if event[0] in {"up", "down"}]
    assert kinds == ["up", "down"] * (len(kinds) // 2) + ["up"]


def test_a_node_is_called_for_a_minute_after_its_loss_however_long_it_was_linked(
    world: World,
) -> None:
    world.node("a")
    world.node("b")
    world.clock.advance(600.0)
    world.network.part(["a"], ["b"])
    world.clock.advance(30.0)
    world.network.heal()
    world.clock.advance(1.5)
    assert world.whole()
    world.crash("b")
    world.clock.advance(90.0)
    assert world.meshes["a"]._numbers == {}
    assert world.meshes["a"]._by_channel == {}


def test_a_partition_in_one_direction_takes_both_ends_down(world: World) -> None:
    world.node("a")
    world.node("b")
    world.clock.advance(1.0)
    world.network.cut("a", "b")
    world.clock.advance(4.5)
    for name in "ab":
        assert world.ears[name].take()[-1][0] == "down"
        assert world.ids(name) == []


def test_flapping_makes_ups_and_downs_alternate(world: World) -> None:
    world.node("a")
    world.node("b")
    for _ in range(30):
        world.clock.advance(1.0)
        world.network.part(["a"], ["b"])
        world.clock.advance(1.0)
        world.network.heal()
    world.clock.advance(2.0)
    for ears in world.ears.values():
        kinds = [event[0] for event in ears.take() if event[0] in {"up", "down"}]
        assert kinds == ["up", "down"] * (len(kinds) // 2) + ["up"]


def test_a_node_that_stalls_longer_than_the_silence_is_linked_anew_and_nothing_is_doubled(
    world: World,
) -> None:
    world.node("a")
    world.node("b")
    world.clock.advance(1.0)
    hung = world.meshes["b"]
    assert hung._timer is not None
    hung._timer.cancel()
    world.network.stall("b")
    for number in range(100):
        world.say("a", "b", b"%d" % number)
        world.clock.advance(0.05)
    assert world.ids("a") == []
    world.network.resume("b")
    hung._tick()
    world.clock.advance(2.0)
    assert world.whole()
    heard = world.ears["b"].of("a")
    assert heard == [b"%d" % number for number in range(len(heard))]


def test_a_slow_reader_is_waited_for_until_the_outbox_is_full(world: World) -> None:
    world.node("a")
    world.node("b")
    world.clock.advance(1.0)
    world.network.stall("b")
    accepted = sum(world.say("a", "b", b"%d" % number) for number in range(12_000))
    assert 10_000 <= accepted < 12_000
    assert world.ears["a"].take()[-1] == ("down", "b", "overflow")
    world.network.resume("b")


def test_what_waits_for_a_slow_reader_arrives_when_it_goes_on(world: World) -> None:
    world.node("a")
    world.node("b")
    world.clock.advance(1.0)
    world.network.stall("b")
    for number in range(5_000):
        assert world.say("a", "b", b"%d" % number)
    assert world.meshes["a"].waiting(next(iter(world.meshes["a"].nodes))) == 4_000
    world.clock.advance(0.5)
    world.network.resume("b")
    world.clock.advance(0.5)
    assert world.ears["b"].of("a") == [b"%d" % number for number in range(5_000)]


# -- refusals


def test_nodes_of_another_cluster_or_version_are_told_and_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.node("a")
    world.node("b", cluster="other")
    world.node("c", oldest=2, newest=2)
    world.clock.advance(60.0)
    assert all(mesh.nodes == {} for mesh in world.meshes.values())
    for mesh in world.meshes.values():
        assert mesh.refused["greeting"] or mesh.refused["refused"]
    texts = " ".join(record.getMessage() for record in caplog.records)
    assert "cluster 'other'" in texts
    assert len(caplog.records) <= 6, "once for each reason and node"


def test_junk_on_an_unknown_channel_is_counted_and_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = world.node("a")
    for number in range(50):
        mesh.frame(b"nobody", b"GET / HTTP/1.1")
        mesh.frame(b"nobody", b"PK\x01\x10\x00\x00\x00\x09" + bytes([number]))
        mesh.frame(b"nobody", b"PK\x01\x01\x00\x00\x00\x01\xc1")
    assert mesh.refused == {"magic": 50, "stray": 50, "value": 50}
    assert len(caplog.records) == 2


def test_a_node_drops_another_and_may_have_it_again(world: World) -> None:
    mesh = world.node("a")
    world.node("b")
    world.clock.advance(1.0)
    mesh.drop(next(iter(mesh.nodes)), "for a moment")
    world.clock.advance(2.0)
    assert [event[0] for event in world.ears["b"].take()] == ["up", "down", "up"]
    assert world.whole()


def test_closing_twice_is_closing_once(world: World) -> None:
    mesh = world.node("a")
    run(mesh.close())
    run(mesh.close())
    mesh.frame(b"late", b"")
    assert mesh.refused == {}


def test_an_address_in_use_is_an_error(world: World) -> None:
    world.node("a")
    other = Mesh(
        Greeting(NodeId("z", b"z" * 12), "team"),
        CODEC,
        world.network.transport("a"),
        Ears(),
        world.clock,
    )
    with pytest.raises(OSError, match="'a' is in use"):
        asyncio.run(other.open())


# -- everything at once


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_weather_links_are_whole_afterwards_and_no_frame_is_out_of_place(
    seed: int,
) -> None:
    """Loss, delay, doubles, partitions, crashes and restarts; the seed repeats a failure."""
    world = World(seed)
    chance = random.Random(seed)
    names = ["a", "b", "c", "d"]
    said: dict[tuple[str, str], int] = {}
    for name in names:
        world.node(name)
    for _ in range(80):
        world.network.faults = Faults(
            loss=chance.choice([0.0, 0.0, 0.02]),
            double=chance.choice([0.0, 0.05]),
            delay=chance.choice([(0.0, 0.0), (0.0, 0.2)]),
        )
        match chance.randrange(8):
            case 0:
                world.network.cut(*chance.sample(names, 2))
            case 1:
                world.network.heal()
            case 2:
                name = chance.choice(names)
                check_order(world.ears[name], names)
                world.crash(name)
                world.node(name)
            case _:
                pass
        for source, target in itertools.permutations(names, 2):
            number = said.get((source, target), 0)
            if world.say(source, target, b"%d" % number):
                said[source, target] = number + 1
        world.clock.advance(chance.choice([0.05, 0.3, 1.5]))
    world.network.heal()
    world.network.faults = Faults()
    world.clock.advance(10.0)
    assert world.whole(), seed
    for ears in world.ears.values():
        check_order(ears, names)


def check_order(ears: Ears, names: list[str]) -> None:
    """Frames of a node come between its up and its down, in order and once."""
    up: set[str] = set()
    last: dict[str, int] = dict.fromkeys(names, -1)
    for event in ears.heard:
        match event:
            case ("up", name):
                assert name not in up
                up.add(name)
            case ("down", name, _):
                assert name in up
                up.remove(name)
            case ("suspect" | "recovered", name):
                assert name in up
            case (name, body):
                assert name in up
                assert int(body) > last[name]
                last[name] = int(body)
