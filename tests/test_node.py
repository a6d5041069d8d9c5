"""The node: its life on a loop of its own or of others, its tree, and what it refuses by name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

import puckstream as puck
from puckstream.testing.model_server import ModelServer


class Echo(puck.Actor):
    """Answers with what it was asked."""

    def on_receive(self, message: Any) -> Any:
        return message


async def forever(emit: Any) -> None:
    emit("a")
    await asyncio.Event().wait()


# ---------------------------------------------------------------------------------------- life


async def test_a_node_runs_on_the_loop_that_enters_it() -> None:
    async with puck.Node() as node:
        ref = await node.spawn(Echo)
        assert await ref.call("hello") == "hello"
        assert repr(node) == "<Node 'node': running>"
    assert repr(node) == "<Node 'node': not running>"
    assert not ref.is_alive()


def test_a_node_runs_on_a_loop_in_a_thread_where_there_is_none() -> None:
    before = set(threading.enumerate())
    with puck.Node(name="mine") as node:
        assert "puckstream-mine" in [thread.name for thread in threading.enumerate()]
        ref = node.spawn(Echo).get()
        assert ref.ask("hello") == "hello"
    assert set(threading.enumerate()) == before


def test_the_loop_of_such_a_node_can_be_chosen() -> None:
    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.new_event_loop())
        return made[0]

    with puck.Node(loop_factory=factory) as node:
        assert node.spawn(Echo).get().ask("hello") == "hello"
    assert made[0].is_closed()


async def test_the_end_of_a_node_is_the_end_of_everything_on_it() -> None:
    async with puck.Node([puck.child(Echo, id="echo")]) as node:
        refs = [await node.spawn(Echo) for _ in range(10)]
        refs += [below.ref for below in node.tree().walk()]
        stream = await node.start_stream(forever)
    assert not any(ref.is_alive() for ref in refs)
    assert stream.ended


async def test_shutdown_is_idempotent_and_waits_for_the_same_end() -> None:
    async with puck.Node() as node:
        await asyncio.gather(*(node.shutdown() for _ in range(3)))
        await node.shutdown()
        with pytest.raises(puck.NodeNotRunning):
            node.spawn(Echo)


def test_close_is_idempotent_and_waits_from_any_thread() -> None:
    with puck.Node() as node:
        closer = threading.Thread(target=node.close)
        closer.start()
        closer.join(10)
        node.close()


def test_close_on_the_thread_it_would_wait_for_is_refused() -> None:
    class Closer(puck.Actor):
        ask_errors = "reply"

        def on_receive(self, message: Any) -> Any:
            self.node.close()

    with puck.Node() as node:
        with pytest.raises(puck.BlockingCall, match="await node"):
            node.spawn(Closer).get().ask("close")
        assert node.spawn(Echo).get().ask("still here") == "still here"


async def test_close_of_a_node_without_a_thread_says_what_to_do() -> None:
    async with puck.Node() as node:
        with pytest.raises(puck.NodeNotRunning, match="await node"):
            node.close()


async def test_a_node_is_entered_once() -> None:
    node = puck.Node()
    async with node:
        pass
    with pytest.raises(puck.NodeNotRunning, match="make a new Node"):
        await node.__aenter__()


def test_a_node_that_was_not_entered_says_so() -> None:
    node = puck.Node()
    operations: list[Callable[[], object]] = [
        lambda: node.spawn(Echo),
        node.tree,
        lambda: node.start_stream(forever),
        lambda: node.cancel("s"),
        lambda: node.snapshot("s"),
        lambda: node.streaming("s"),
        lambda: node.app,
    ]
    for operation in operations:
        with pytest.raises(puck.NodeNotRunning):
            operation()


async def test_a_child_that_does_not_start_fails_the_node_and_leaves_nothing() -> None:
    class Broken(puck.Actor):
        def on_start(self) -> None:
            raise RuntimeError("no start")

    with pytest.raises(puck.StartFailed):
        async with puck.Node([Echo, Broken]):
            pytest.fail("it started")
    with pytest.raises(puck.StartFailed), puck.Node([Echo, Broken]):
        pytest.fail("it started")


async def test_two_nodes_on_one_loop_do_not_meet() -> None:
    async with puck.Node(name="one") as one, puck.Node(name="two") as two:
        await one.start_stream(forever, stream_id="s")
        await one.register("echo", await one.spawn(Echo))
        assert not two.streaming("s")
        assert two.whereis("echo") is None
        assert await two.cancel("s") == "not_found"
        assert one.streaming("s")


# ---------------------------------------------------------------------------------------- tree


async def test_the_root_has_its_children_in_order() -> None:
    async with puck.Node([puck.child(Echo, id="echo")]) as node:
        tree = node.tree()
        ids = ["registry", "pubsub", "groups", "streams", "app"]
        assert [below.id for below in tree.children] == ids
        assert tree.find("echo") in tree.children[-1].children
        for each in ids:
            ref = node.whereis_child(each)
            assert ref is not None
            assert ref.is_alive()
        assert node.whereis_child("nobody") is None
        assert await asyncio.to_thread(lambda: node.tree().find("echo") is not None)


async def test_the_applications_supervisor_is_not_mistaken_for_a_child_of_the_same_id() -> None:
    inner = puck.child(puck.Supervisor, [puck.child(Echo, id="streams")], id="app")
    async with puck.Node([inner]) as node:
        row = await node.app.which_child("app")
        assert node.whereis_child("app") is node.app
        assert row.ref is not node.app
        streams = node.whereis_child("streams")
        assert streams is not None
        assert streams.actor_class is not Echo


async def test_children_are_started_under_app() -> None:
    async with puck.Node() as node:
        ref = await node.start_child(puck.child(Echo, id="echo"))
        assert ref is not None
        found = node.tree().find("echo")
        assert found is not None
        assert found.ref is ref


async def test_names_are_free_again_at_the_end_of_their_owner() -> None:
    async with puck.Node() as node:
        first, second = await node.spawn(Echo), await node.spawn(Echo)
        await node.register("echo", first)
        assert node.whereis("echo") is first
        with pytest.raises(puck.NameTaken, match="'echo'"):
            await node.register("echo", second)
        first.kill()
        assert node.whereis("echo") is None
        await node.register("echo", second)
        assert node.whereis("echo") is second


# ----------------------------------------------------------------------------------- bad input

WRONG_NODES: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": ""}, "name=''"),
    "a name that is no text": ({"name": 5}, "name=5"),
    "a name that cannot be printed": ({"name": "a\n"}, "name='a\\n'"),
    "children that are none": ({"children": 5}, "children=5"),
    "a child that is none": ({"children": ["echo"]}, "'echo'"),
    "two of one id": ({"children": [Echo, Echo]}, "Echo"),
    "a strategy of its own": ({"strategy": "all"}, "strategy='all'"),
    "a negative intensity": ({"intensity": -1}, "intensity=-1"),
    "no period": ({"period": 0}, "period=0"),
    "a negative retention": ({"retention": -1.0}, "retention=-1.0"),
    "a retention in words": ({"retention": "5 min"}, "retention='5 min'"),
    "fewer than none kept": ({"max_ended": -1}, "max_ended=-1"),
}


@pytest.mark.parametrize(("options", "named"), WRONG_NODES.values(), ids=WRONG_NODES.keys())
def test_a_node_that_cannot_work_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(puck.InvalidOption) as refused:
        puck.Node(**options)
    assert named in str(refused.value)


async def test_what_is_no_actor_class_is_refused_by_name() -> None:
    async with puck.Node() as node:
        for wrong in (5, Echo(), dict, "Echo", None):
            with pytest.raises(puck.InvalidOption, match="actor_class="):
                node.spawn(cast("Any", wrong))


async def test_a_name_that_cannot_be_given_is_refused_by_name() -> None:
    async with puck.Node() as node:
        echo = await node.spawn(Echo)
        with pytest.raises(puck.InvalidOption, match=r"key=\[\]"):
            await node.register(cast("Any", []), echo)
        with pytest.raises(puck.InvalidOption, match="ref=5"):
            await node.register("five", cast("Any", 5))
        with pytest.raises(puck.NotInActor):
            await node.register("nobody")


async def test_a_blocking_ask_on_the_loop_is_refused_with_what_to_use() -> None:
    async with puck.Node() as node:
        ref = await node.spawn(Echo)
        with pytest.raises(puck.BlockingCall, match="await ref"):
            ref.ask("hello")
        stream = await node.start_stream(forever)
        with pytest.raises(puck.BlockingCall):
            stream.wait().get()


async def test_an_upstream_that_cannot_be_reached_is_an_event_that_names_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with puck.Node() as node:
            client = puck.Client("openai:m", base_url=f"{url}/v1", api_key="hidden-key")
            stream = await node.start_stream(client, "hello")
            end: Any = await stream.wait()
            assert (end.kind, end.reason.kind) == ("error", "connection")
            assert end.reason.retryable
            assert url.removeprefix("http://") in str(end.reason)
            assert "hidden-key" not in str(end.reason)


FAULTS = {
    "unauthorized": ("auth", "Incorrect API key"),
    "rate-limited": ("rate_limit", "Rate limit"),
    "overloaded": ("overloaded", "lamps"),
    "broken": ("server", "lamp"),
    "error-after-200": ("overloaded", "oil"),
    "cut": ("connection", "127.0.0.1"),
    "cut-before-head": ("connection", "127.0.0.1"),
    "malformed": ("parse", ""),
}


@pytest.mark.parametrize("script", FAULTS)
async def test_an_upstream_that_misbehaves_is_an_event_that_says_how(script: str) -> None:
    kind, words = FAULTS[script]
    async with ModelServer() as server, puck.Node() as node:
        client = puck.Client(f"openai:{script}", base_url=server.url)
        stream = await node.start_stream(client, "hello", timeout=20.0)
        end: Any = await stream.wait()
        assert (end.kind, end.reason.kind) == ("error", kind)
        assert words in str(end.reason)
        assert end.reason.provider == "openai"


@contextlib.contextmanager
def refused(error: type[Exception], *words: str) -> Any:
    with pytest.raises(error) as raised:
        yield
    for word in words:
        assert word in str(raised.value)


async def test_each_kind_of_bad_input_has_a_class_of_its_own_that_names_the_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    async with puck.Node() as node:
        dead = await node.spawn(Echo)
        dead.kill()
        await node.start_stream(forever, stream_id="s")
        with refused(puck.UnknownProvider, "'nobody'", "openai"):
            puck.Client("nobody:m")
        with refused(puck.MissingKey, "OPENAI_API_KEY"):
            puck.Client("openai:m")
        with refused(puck.InvalidSpec, "restart='sometimes'"):
            puck.child(Echo, restart=cast("Any", "sometimes"))
        with refused(puck.InvalidSpec, "'twice'"):
            puck.Node([puck.child(Echo, id="twice"), puck.child(Echo, id="twice")])
        with refused(puck.ChildRunning, "'echo'"):
            for _ in range(2):
                await node.start_child(puck.child(Echo, id="echo"))
        with refused(puck.StreamRunning, "'s'", "if_running"):
            await node.start_stream(forever, stream_id="s")
        with refused(puck.StreamNotFound, "'t'"):
            await node.snapshot("t")
        with refused(puck.ActorDead, "Echo"):
            await dead.call("hello")
        with refused(puck.NotInActor):
            node.subscribe("s")
        with refused(puck.InvalidOption, "stream_id="):
            node.start_stream(forever, stream_id="x" * 201)
        with refused(puck.InvalidOption, "timeout="):
            node.start_stream(forever, timeout=cast("Any", "soon"))
