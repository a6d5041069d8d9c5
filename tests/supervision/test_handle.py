"""Looking at one child: `which_child` and `get_child_spec`, with every outcome."""

from __future__ import annotations

from typing import Any

import pytest

import puckstream as puck
from puckstream.actors import links
from puckstream.actors.actor import Actor
from puckstream.actors.signals import NORMAL
from puckstream.errors import ActorDead, ChildNotFound, InvalidOption, NameTaken, StartFailed
from puckstream.supervision.child import IGNORE, Backoff, child
from puckstream.testing.gate import Gate

BROKEN = RuntimeError("broken")
LOOKS = ("which_child", "get_child_spec")


class Idle(Actor):
    """Does nothing."""


# ---------------------------------------------------------------------------------------- static


async def test_a_child_is_looked_up_by_its_id_or_its_ref(stage: Any) -> None:
    """Table of which_child and get_childspec: the spec is whole, its defaults filled in."""
    async with stage:
        spec = child(Idle, id="a", shutdown=1.5)
        supervisor = await stage.supervise(stage.worker("z"), spec)
        ref = (await stage.states(supervisor))["a"]
        for which in ("a", ref):
            row = await supervisor.which_child(which)
            assert (row.spec, row.ref, row.state, row.restarts) == (spec, ref, "running", 0)
            assert row in await supervisor.which_children()
            assert await supervisor.get_child_spec(which) == spec
        assert spec == puck.ChildSpec("a", Idle, (), {}, "permanent", 1.5, "worker", False)


async def test_a_child_that_does_not_run_is_looked_up_by_its_id(stage: Any) -> None:
    """Table of which_child: *undefined* and *restarting*."""
    async with stage:
        supervisor = await stage.supervise(
            stage.worker("a"), stage.worker("b", backoff=Backoff()), child(lambda _: IGNORE, id="f")
        )
        refs = await stage.states(supervisor)
        await supervisor.terminate_child("a")
        await stage.end(refs["b"])
        for name, state in (("a", "stopped"), ("b", "restarting"), ("f", "stopped")):
            row = await supervisor.which_child(name)
            assert (row.spec.id, row.ref, row.state) == (name, None, state)
            assert (await supervisor.get_child_spec(name)).id == name
        for look in LOOKS:
            for gone in (refs["a"], refs["b"]):
                with pytest.raises(ChildNotFound):
                    await getattr(supervisor, look)(gone)


@pytest.mark.parametrize("look", LOOKS)
async def test_who_is_no_child_is_not_found(stage: Any, look: str) -> None:
    """Table: ``not_found``."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        stranger = await stage.start(Idle)
        for which in ("b", None, stranger):
            with pytest.raises(ChildNotFound) as raised:
                await getattr(supervisor, look)(which)
            assert raised.value.child_id is which


async def test_an_id_that_is_a_ref_is_an_id(stage: Any) -> None:
    async with stage:
        stranger = await stage.start(Idle)
        supervisor = await stage.supervise(stage.worker(stranger))
        assert (await supervisor.which_child(stranger)).ref is not stranger


async def test_the_spec_of_a_running_temporary_child_has_no_arguments(stage: Any) -> None:
    """S18."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a", restart="temporary"))
        assert (await supervisor.get_child_spec("a")).args == ()


async def test_a_child_that_unlinked_and_died_keeps_its_row(stage: Any) -> None:
    """S32, precision."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        ref = (await stage.states(supervisor))["a"]
        links.unlink(ref, supervisor)
        await stage.end(ref)
        assert (await supervisor.which_child("a")).ref is ref


@pytest.mark.parametrize("call", [*LOOKS, "terminate_child", "restart_child", "delete_child"])
async def test_what_can_be_no_id_is_refused_in_the_caller(stage: Any, call: str) -> None:
    """The supervisor, which would stumble over it, is not asked."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        with pytest.raises(InvalidOption, match=r"child_id=\['a'\]"):
            getattr(supervisor, call)(["a"])
        assert supervisor.is_alive()


# --------------------------------------------------------------------------------------- dynamic


async def test_a_dynamic_supervisors_child_is_looked_up_by_its_ref(stage: Any) -> None:
    """Table: by pid, and also by the last one of a child that is restarting."""
    async with stage:
        supervisor = await stage.dynamic(extra_args=(stage,))
        spec = child(stage.worker("a").start, "a", id="a", backoff=Backoff(jitter=0.0))
        ref = await supervisor.start_child(spec)
        row = await supervisor.which_child(ref)
        assert (row.ref, row.state, row.spec.args) == (ref, "running", (stage, "a"))
        assert await supervisor.get_child_spec(ref) == row.spec
        await stage.end(ref)
        row = await supervisor.which_child(ref)
        assert (row.spec.id, row.ref, row.state) == ("a", None, "restarting")
        assert await supervisor.get_child_spec(ref) == row.spec
        stage.clock.advance(0.2)
        (row,) = await supervisor.which_children()
        assert await supervisor.which_child(row.ref) == row
        for look in LOOKS:
            with pytest.raises(ChildNotFound):
                await getattr(supervisor, look)(ref)


@pytest.mark.parametrize("look", [*LOOKS, "terminate_child"])
async def test_a_dynamic_supervisor_knows_no_ids_and_no_strangers(stage: Any, look: str) -> None:
    """Table: ``simple_one_for_one`` for an id, ``not_found`` for a stranger."""
    async with stage:
        supervisor = await stage.dynamic()
        await supervisor.start_child(stage.worker("a"))
        ended = await supervisor.start_child(stage.worker("b", restart="temporary"))
        await stage.end(ended, NORMAL)
        for wrong in ("a", None, ["a"]):
            with pytest.raises(InvalidOption, match="ref="):
                getattr(supervisor, look)(wrong)
        for stranger in (await stage.start(Idle), ended):
            with pytest.raises(ChildNotFound):
                await getattr(supervisor, look)(stranger)
        assert (await supervisor.count_children()).active == 1


async def test_partitions_are_looked_up_by_their_numbers(stage: Any) -> None:
    """S74."""
    async with stage:
        supervisor = await stage.start(puck.PartitionSupervisor, Idle, partitions=2)
        row = await supervisor.which_child(1)
        assert (row.ref, (await supervisor.get_child_spec(1)).id) == (supervisor.partition(1), 1)
        with pytest.raises(ChildNotFound):
            await supervisor.which_child(2)


# ------------------------------------------------------------------------------------- of either


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_supervisor_that_is_gone_says_so(stage: Any, look: str, dynamic: bool) -> None:
    """Table: S does not exist."""
    async with stage:
        supervisor = await (stage.dynamic() if dynamic else stage.supervise())
        ref = await supervisor.start_child(stage.worker("a"))
        await supervisor.stop(block=False)
        with pytest.raises(ActorDead):
            await getattr(supervisor, look)(ref)


@pytest.mark.parametrize("dynamic", [False, True])
async def test_one_child_can_be_looked_at_while_another_restart_keeps_failing(
    stage: Any, dynamic: bool
) -> None:
    """S39."""
    async with stage:
        supervisor = await (stage.dynamic if dynamic else stage.supervise)(intensity=1000)
        a, b = [await supervisor.start_child(stage.worker(name)) for name in "ab"]
        stage.will("b", *[BROKEN] * 500)
        await stage.end(b)
        row = await supervisor.which_child(b if dynamic else "b")
        assert (row.ref, row.state) == (None, "restarting")
        assert (await supervisor.which_child(a)).state == "running"
        assert stage.outcomes["b"], "it is still looping"


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_ref_that_another_supervisor_counts_on_is_no_new_child(
    stage: Any, dynamic: bool
) -> None:
    """S9: a child has one supervisor; it stays with the one it has."""
    async with stage:
        first = await stage.supervise(stage.worker("a"))
        ref = (await stage.states(first))["a"]
        second = await (stage.dynamic() if dynamic else stage.supervise())
        for supervisor in (first, second):
            with pytest.raises(StartFailed, match="child already"):
                await supervisor.start_child(child(lambda _context: ref, id="b"))
        assert ref.is_alive()
        await stage.end(ref)
        assert (await stage.states(first))["a"].is_alive()


@pytest.mark.parametrize("slow", [False, True])
async def test_a_dynamic_child_whose_name_is_taken_does_not_start(stage: Any, slow: bool) -> None:
    """S13, table of start_child: the error is not wrapped."""
    async with stage:
        supervisor = await stage.dynamic()
        gate = Gate(open=True)
        holder = await stage.start(Idle)

        def taken(_context: Any) -> Any:
            name = "alice"
            raise NameTaken(name, holder)

        async def taken_later(context: Any) -> Any:
            await gate.wait()
            return taken(context)

        with pytest.raises(NameTaken) as raised:
            await supervisor.start_child(child(taken_later if slow else taken))
        assert raised.value.holder is holder
        assert await supervisor.which_children() == ()


@pytest.mark.parametrize("kind", [puck.Supervisor, puck.DynamicSupervisor])
def test_a_supervisor_with_a_bounded_mailbox_is_refused_where_it_is_written(kind: Any) -> None:
    """Its ref would lose the calls that only a supervisor's has."""
    with pytest.raises(InvalidOption, match=r"Pool\.mailbox=Bound.*has no bound"):
        type("Pool", (kind,), {"mailbox": puck.Bound(100)})
