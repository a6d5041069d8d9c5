"""What a snapshot of a running tree shows."""

from __future__ import annotations

from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.errors import ActorDead
from puckstream.supervision.child import Backoff, child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.supervisor import Supervisor
from puckstream.supervision.survey import survey
from puckstream.supervision.tree import Tree
from puckstream.testing.gate import Gate


class Described(Actor):
    def describe(self) -> str:
        return "something to say"


class Survey(Actor):
    """Has a method that only happens to be called like a supervisor's."""

    def survey(self, question: str, answer: str) -> None: ...


async def test_a_worker_is_no_supervisor_whatever_its_methods_are_called(stage: Any) -> None:
    async with stage:
        supervisor = await stage.supervise(child(Survey, id="s"))
        assert (await supervisor.tree()).children[0].kind == "worker"


async def test_a_snapshot_shows_every_floor(stage: Any) -> None:
    async with stage:
        inner = child(Supervisor, stage.workers("bc"), id="inner", strategy="rest_for_one")
        dynamic = child(DynamicSupervisor, id="dynamic", intensity=7, period=2.0)
        supervisor = await stage.supervise(stage.worker("a"), inner, dynamic)
        refs = await stage.states(supervisor)
        d = await refs["dynamic"].start_child(child(Described, id="d"))
        stage.clock.advance(90.0)
        tree = await supervisor.tree()
        assert [node.id for node in tree.walk()] == [
            "Supervisor",
            "a",
            "inner",
            "b",
            "c",
            "dynamic",
            "d",
        ]
        assert tree == Tree(
            id="Supervisor",
            ref=supervisor,
            kind="supervisor",
            state="running",
            strategy="one_for_one",
            intensity=100,
            period=5.0,
            mailbox=0,
            uptime=90.0,
            children=tree.children,
        )
        found = tree.find("inner")
        assert found is not None
        assert (found.ref, found.kind, found.strategy) == (
            refs["inner"],
            "supervisor",
            "rest_for_one",
        )
        found = tree.find("dynamic")
        assert found is not None
        assert (found.intensity, found.period, found.uptime) == (7, 2.0, 90.0)
        assert found.children == (Tree("d", d, mailbox=0, uptime=None, detail="something to say"),)


async def test_a_child_that_does_not_run_shows_as_what_it_is(stage: Any) -> None:
    async with stage:
        supervisor = await stage.supervise(
            stage.worker("a"), stage.worker("b", backoff=Backoff(jitter=0.0)), stage.worker("c")
        )
        refs = await stage.states(supervisor)
        await supervisor.terminate_child("a")
        await stage.end(refs["b"])
        await stage.end(refs["c"])
        await supervisor.which_children()
        tree = await supervisor.tree()
        assert [(node.id, node.state, node.restart_count) for node in tree.children] == [
            ("a", "stopped", 0),
            ("b", "restarting", 0),
            ("c", "running", 1),
        ]
        assert tree.restarts_in_window == 1
        stage.clock.advance(6.0)
        assert (await supervisor.tree()).restarts_in_window == 0


async def test_a_busy_tree_is_shown_without_waiting_for_it(stage: Any) -> None:
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        a = (await stage.states(supervisor))["a"]
        a.tell(Gate())
        await stage.turns()
        a.tell("another")
        stage.will("b", Gate())
        starting = supervisor.start_child(stage.worker("b"))
        counting = supervisor.count_children()
        await stage.turns()
        tree = await supervisor.tree()
        assert (tree.state, tree.mailbox) == ("waiting", 1)
        assert (tree.children[0].state, tree.children[0].mailbox) == ("waiting", 1)
        # The one that is starting has its place in the list already.
        assert [node.id for node in tree.children] == ["a", "b"]
        supervisor.kill()
        for call in (starting, counting):
            with pytest.raises(ActorDead):
                await call


async def test_a_dead_child_nobody_has_noticed_shows_as_dead(stage: Any) -> None:
    """S32: it had unlinked itself."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        a = (await stage.states(supervisor))["a"]
        a._parent = None
        await stage.end(a)
        assert (await supervisor.tree()).children[0].state == "dead"


async def test_any_actor_can_be_surveyed(stage: Any) -> None:
    async with stage:
        ref = await stage.start(Described)
        assert survey(ref, "x") == Tree("x", ref, mailbox=0, detail="something to say")
        await stage.end(ref)
        assert survey(ref, "x") == Tree("x", ref, state="dead", mailbox=0)


async def test_a_snapshot_can_be_drawn_and_sent(stage: Any) -> None:
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        tree = await supervisor.tree()
        assert str(tree).splitlines()[0].startswith("Supervisor · running · one_for_one")
        assert tree.to_dict()["children"][0]["id"] == "a"
