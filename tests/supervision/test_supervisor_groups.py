"""A running static supervisor restarts one child, all of them, or the rest of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.signals import NORMAL, SHUTDOWN, Custom
from puckstream.supervision.child import IGNORE, child
from puckstream.testing.gate import Gate

BROKEN = RuntimeError("broken")
CRASH = Custom("crash")


async def end_child(stage: Any, supervisor: Any, name: str, reason: Any = CRASH) -> None:
    await stage.end((await stage.states(supervisor))[name], reason)


class Idle(Actor):
    """Does nothing."""


def in_turn(*results: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a start function that does each of these once."""
    left = list(results)

    def start(context: Any) -> Any:
        result = left.pop(0)
        return result(context)

    return start


# ---------------------------------------------------------------------------------------- groups


async def test_one_for_one_touches_nobody_else(stage: Any) -> None:
    """S24: the other refs and the order stay."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("abc"))
        before = await stage.states(supervisor)
        await end_child(stage, supervisor, "b")
        after = await stage.states(supervisor)
        assert list(after) == ["a", "b", "c"]
        assert (after["a"], after["c"]) == (before["a"], before["c"])
        assert after["b"] is not before["b"]


async def test_one_for_all_stops_the_others_in_reverse_and_starts_all_in_order(
    stage: Any,
) -> None:
    """S25: a temporary sibling is stopped and gone."""
    async with stage:
        supervisor = await stage.supervise(
            stage.worker("a"),
            stage.worker("t", restart="temporary"),
            stage.worker("c"),
            stage.worker("d"),
            strategy="one_for_all",
        )
        stage.news()
        await end_child(stage, supervisor, "c")
        assert list(await stage.states(supervisor)) == ["a", "c", "d"]
        assert stage.news() == [
            "end c crash",
            "end d shutdown",
            "end t shutdown",
            "end a shutdown",
            "start a",
            "start c",
            "start d",
        ]


async def test_rest_for_one_restarts_the_dead_one_and_those_behind_it(stage: Any) -> None:
    """S26: behind it in the list, whenever they were started; a temporary one is gone."""
    async with stage:
        supervisor = await stage.supervise(
            stage.worker("a"),
            stage.worker("b"),
            stage.worker("t", restart="temporary"),
            stage.worker("d"),
            strategy="rest_for_one",
        )
        await supervisor.terminate_child("a")
        a = await supervisor.restart_child("a")
        stage.news()
        await end_child(stage, supervisor, "b")
        after = await stage.states(supervisor)
        assert list(after) == ["a", "b", "d"]
        assert after["a"] is a
        assert stage.news() == [
            "end b crash",
            "end d shutdown",
            "end t shutdown",
            "start b",
            "start d",
        ]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_group_restart_also_starts_members_that_did_not_run(
    stage: Any, strategy: Any
) -> None:
    """S25, S26, precision: those stopped by hand, and transient ones that had finished."""
    async with stage:
        supervisor = await stage.supervise(
            stage.worker("a"),
            stage.worker("b"),
            stage.worker("c", restart="transient"),
            strategy=strategy,
        )
        await supervisor.terminate_child("b")
        await end_child(stage, supervisor, "c", NORMAL)
        await end_child(stage, supervisor, "a")
        assert (await supervisor.count_children()).active == 3


async def test_a_member_that_ignores_its_start_does_not_hold_the_group_up(stage: Any) -> None:
    """S25, precision."""
    async with stage:
        results = (lambda context: context.spawn(Idle), lambda _context: IGNORE)
        spec = child(in_turn(*results), id="f")
        supervisor = await stage.supervise(
            stage.worker("a"), spec, stage.worker("c"), strategy="one_for_all"
        )
        await end_child(stage, supervisor, "a")
        after = await stage.states(supervisor)
        assert after["f"] == "stopped"
        assert (after["a"].is_alive(), after["c"].is_alive()) == (True, True)


async def test_one_for_all_tries_the_whole_group_again_if_a_member_does_not_start(
    stage: Any,
) -> None:
    """S27: those already started run until the next try, and are stopped by it."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("abc"), strategy="one_for_all")
        stage.news()
        stage.will("b", BROKEN)
        await end_child(stage, supervisor, "a")
        seen = await stage.states(supervisor)
        assert isinstance(seen["a"], ActorRef)
        assert (seen["b"], seen["c"]) == ("restarting", "stopped")
        after = await stage.states(supervisor)
        assert all(ref.is_alive() for ref in after.values())
        assert after["a"] is not seen["a"]
        assert stage.news()[3:] == [
            "start a",
            "fail b",
            "end a shutdown",
            "start a",
            "start b",
            "start c",
        ]


async def test_rest_for_one_tries_again_from_the_member_that_did_not_start(stage: Any) -> None:
    """S27: those before it keep running."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("abc"), strategy="rest_for_one")
        stage.news()
        stage.will("b", BROKEN)
        await end_child(stage, supervisor, "a")
        seen = await stage.states(supervisor)
        assert (seen["b"], seen["c"]) == ("restarting", "stopped")
        after = await stage.states(supervisor)
        assert after["a"] is seen["a"]
        assert stage.news() == [
            "end a crash",
            "end c shutdown",
            "end b shutdown",
            "start a",
            "fail b",
            "start b",
            "start c",
        ]


async def test_a_child_started_by_hand_during_a_failing_group_restart_is_stopped_by_the_next_try(
    stage: Any,
) -> None:
    """S21, precision."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("ab"), strategy="rest_for_one")
        stage.will("a", BROKEN)
        await end_child(stage, supervisor, "a")
        # Both wait in the mailbox before the next try does.
        seen, b = supervisor.which_children(), supervisor.restart_child("b")
        assert [row.state for row in await seen] == ["restarting", "stopped"]
        b = await b
        assert (await stage.states(supervisor))["b"] is not b
        assert b.reason == SHUTDOWN


async def test_members_that_die_together_are_restarted_once(stage: Any) -> None:
    """S20, S25: the second exit is that of a ref the supervisor does not know any more."""
    async with stage:
        supervisor = await stage.supervise(
            *stage.workers("abc"), strategy="one_for_all", intensity=1
        )
        refs = await stage.states(supervisor)
        stage.news()
        for ref in refs.values():
            ref.kill()
        assert (await supervisor.count_children()).active == 3
        assert stage.news()[3:] == ["start a", "start b", "start c"]


async def test_a_child_that_dies_while_its_group_starts_is_restarted_afterwards(
    stage: Any,
) -> None:
    """S8, S25."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("abc"), strategy="rest_for_one")
        gate = Gate()
        stage.will("c", gate)
        await end_child(stage, supervisor, "a")
        await stage.turns()
        assert stage.news()[-1] == "begin c"
        *_, new_b = (ref for ref in stage.system.actors.values() if ref.state == "idle")
        await stage.end(new_b)
        gate.release()
        assert (await supervisor.count_children()).active == 3
        assert stage.news() == [
            "end b crash",
            "start c",
            "end c shutdown",
            "start b",
            "start c",
        ]
