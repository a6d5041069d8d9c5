"""Looking into an actor while it runs.

Covers S58.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.inspector import Inspector
from puckstream.actors.mailbox import Request, SystemRequest
from puckstream.actors.reply import Reply
from puckstream.errors import (
    ActorDead,
    CallingSelf,
    CallTimeout,
    InvalidOption,
    StateNotReplaced,
)
from puckstream.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def looked_at(e: Engine, kind: Any, *args: Any) -> tuple[Any, Inspector]:
    ref = await e.spawn(kind, *args)
    return ref, Inspector(ref)


async def test_the_state_is_the_actors_attributes_after_what_it_was_sent_before(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        ref.tell("first")
        state = await look.state()
        assert state == {"heard": ["first"]}
        state.clear()
        assert await look.state() == {"heard": ["first"]}


async def test_status_says_who_it_belongs_to_and_what_is_switched_on(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        boss = await e.spawn(kind)
        ref = lifecycle.spawn(e.system, kind, (), {}, boss)
        look = Inspector(ref)
        status = await look.status()
        assert (status.ref, status.parent, status.suspended) == (ref, boss, False)
        assert (status.observed, status.attributes) == ((), {"heard": []})
        await look.statistics(True)
        await look.log(3)
        await look.install("mine", print)
        await look.suspend()
        status = await look.status()
        assert status.suspended
        assert status.observed == ("statistics", "log", "mine")


async def test_the_state_is_replaced_between_two_messages(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        ref.tell("old")
        new = await look.replace_state(lambda state: {**state, "heard": ["new"], "more": 1})
        assert new == {"heard": ["new"], "more": 1}
        assert await ref.call(lambda actor: (actor.heard, actor.more)) == (["new"], 1)
        await look.replace_state(lambda _: {"heard": []})
        assert await ref.call(lambda actor: hasattr(actor, "more")) is False
        assert await ref.call(lambda actor: actor.actor_ref) is ref


def raises(_: dict[str, Any]) -> dict[str, Any]:
    msg = "in the function"
    raise ValueError(msg)


def leaves(_: dict[str, Any]) -> dict[str, Any]:
    raise SystemExit(3)


async def suspends(state: dict[str, Any]) -> dict[str, Any]:
    return state


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (raises, "ValueError: in the function"),
        (leaves, "SystemExit: 3"),
        (lambda _: None, "None, no dict"),
        (lambda _: {1: 2}, "{1: 2}, no dict"),
        (suspends, "coroutine object suspends"),
    ],
)
async def test_a_function_that_fails_changes_nothing_and_kills_nobody(
    engine: AnyEngine, kind: AnyKind, function: Any, problem: str
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        ref.tell("kept")

        def spoil_and_fail(state: dict[str, Any]) -> Any:
            state["heard"] = "spoilt"
            return function(state)

        with pytest.raises(StateNotReplaced, match=problem.split(",", maxsplit=1)[0]) as caught:
            await look.replace_state(spoil_and_fail if function is raises else function)
        assert caught.value.ref is ref
        assert (caught.value.__cause__ is not None) == (function in (raises, leaves))
        assert await look.state() == {"heard": ["kept"]}


# -- for all that an inspector asks


async def test_everything_can_be_asked_from_loop_actors_and_threads(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        other = await e.spawn(kind)

        def session() -> Any:
            look.suspend().get(timeout=20)
            look.statistics(True).get(timeout=20)
            look.resume().get(timeout=20)
            return look.state().get(timeout=20)

        assert await threads.run(session) == {"heard": []}
        reply = await other.call(lambda _: [look.state()])
        assert await reply[0] == {"heard": []}
        assert await threads.run(look.info) == look.info()
        assert ref.is_alive()


async def test_asking_oneself_is_refused_at_once(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)

        def ask(_: Any) -> str:
            with pytest.raises(CallingSelf, match="inspects itself"):
                look.state()
            return "alive"

        assert await ref.call(ask) == "alive"


async def test_the_dead_and_the_busy_do_not_answer(
    engine: AnyEngine, kind: AnyKind, door: Door, outcome: Callable[[Reply[Any]], Any]
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        ref.tell(door.hold)
        await door.reached
        state = look.state()
        await e.clock.elapse(5)
        with pytest.raises(CallTimeout):
            await state
        waiting = look.state()
        ref.kill()
        assert isinstance(outcome(waiting), ActorDead)
        assert isinstance(outcome(look.state()), ActorDead)
        door.open()
        await e.no_zombies()


async def test_bad_arguments_are_refused_before_anybody_is_asked(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, doer)
        for keep in (-1, 1.5, True):
            with pytest.raises(InvalidOption, match="keep"):
                look.log(keep)  # type: ignore[arg-type]
        with pytest.raises(InvalidOption, match="function"):
            look.install("mine", "no function")  # type: ignore[arg-type]
        reply: Reply[Any] = Reply()
        ref._send_system(Request(SystemRequest("explode"), reply))
        with pytest.raises(InvalidOption, match="operation='explode'"):
            await reply


async def test_a_node_inspects_by_ref_and_by_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    async with Node() as node:
        ref = await node.spawn(Actor)
        await node.register("shop", ref)
        assert node.inspect("shop").ref is ref
        assert await node.inspect(ref).state() == {}
        assert repr(node.inspect(ref)).startswith("<Inspector of Actor")
        with pytest.raises(ActorDead, match="'nobody'"):
            node.inspect("nobody")
