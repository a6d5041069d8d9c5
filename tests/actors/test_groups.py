from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.groups import GroupChange, Groups, LocalChange
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import ActorDead, InvalidOption, NotInActor, NotJoined


class Member(Actor):
    """Runs the functions it is sent, as its own code, and keeps all other messages."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message()
        self.got.append(message)
        return None


class ThreadMember(ThreadActor):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if message == "got":
            return list(self.got)
        self.got.append(message)
        return None


class Place:
    """An engine with one scope of groups, whose actor can be replaced."""

    def __init__(self) -> None:
        self.system = Scheduler(asyncio.get_running_loop())
        self.local_changes: list[LocalChange] = []
        self.groups = Groups("scope", system=self.system, on_local_change=self.local_changes.append)
        self.serve()

    def serve(self) -> None:
        actor_class, *args = self.groups.actor()
        self.keeper = lifecycle.spawn(self.system, actor_class, tuple(args), {})

    @property
    def watched(self) -> set[Any]:
        """Return whom the actor has a monitor on."""
        return set((self.keeper._ensure_extra().watching or {}).values())

    def member(self, actor_class: type[Actor] = Member) -> Any:
        return lifecycle.spawn(self.system, actor_class, (), {})

    async def end(self, *refs: Any) -> None:
        for ref in refs:
            ref.kill()
        await self.turns()

    @staticmethod
    async def turns() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    @staticmethod
    async def got(ref: Any) -> list[Any]:
        await Place.turns()
        got: list[Any] = ref._actor.got
        ref._actor.got = []
        return got


Stage = Callable[[], AbstractAsyncContextManager[Place]]


@pytest.fixture
def place() -> Stage:
    @asynccontextmanager
    async def enter() -> AsyncGenerator[Place, None]:
        place = Place()
        try:
            yield place
        finally:
            await place.system.close()

    return enter


async def test_members_join_and_leave(place: Stage) -> None:
    """S75."""
    async with place() as here:
        groups, a, b = here.groups, here.member(), here.member()
        await groups.join("g", a)
        await groups.join("g", b)
        assert groups.get_members("g") == groups.get_local_members("g") == (a, b)
        assert groups.which_groups() == groups.which_local_groups() == ("g",)
        await groups.leave("g", a)
        assert groups.get_members("g") == (b,)


async def test_scopes_are_independent(place: Stage) -> None:
    """S75."""
    async with place() as here:
        other = Groups("other", system=here.system)
        a = here.member()
        await here.groups.join("g", a)
        assert other.get_members("g") == ()
        with pytest.raises(NotJoined):
            await other.leave("g", a)


async def test_an_actor_joins_for_itself(place: Stage) -> None:
    """S75: as pg's callers pass self()."""
    async with place() as here:
        a = here.member()
        await a.call(lambda: here.groups.join("g"))
        assert here.groups.get_members("g") == (a,)
        await a.call(lambda: here.groups.leave("g"))
        assert here.groups.get_members("g") == ()
        for change in (here.groups.join, here.groups.leave, here.groups.monitor):
            with pytest.raises(NotInActor):
                change("g")
        with pytest.raises(NotInActor):
            here.groups.monitor_scope()


async def test_joining_several_times_takes_as_many_leaves(place: Stage) -> None:
    """S75: joining k× needs k leaves."""
    async with place() as here:
        groups, a, b = here.groups, here.member(), here.member()
        await groups.join("g", a, a, b)
        await groups.join("g", a)
        assert groups.get_members("g") == (a, a, a, b)
        await groups.leave("g", a, a)
        assert groups.get_members("g") == (a, b)
        await groups.leave("g", a)
        assert groups.get_members("g") == (b,)
        with pytest.raises(NotJoined):
            await groups.leave("g", a)


async def test_a_member_that_ends_leaves_everywhere(place: Stage) -> None:
    """S75: and as often as it has joined; at once for whoever reads."""
    async with place() as here:
        groups, a, b = here.groups, here.member(), here.member()
        await groups.join("g", a, a, b)
        await groups.join("h", a)
        await here.turns()
        a.kill()
        assert (groups.get_members("g"), groups.which_groups()) == ((b,), ("g",))
        await here.turns()
        assert a not in groups._table.local.by_ref
        assert here.watched == {b}


async def test_a_group_without_members_does_not_exist(place: Stage) -> None:
    """S75: empty group = nonexistent."""
    async with place() as here:
        groups, a = here.groups, here.member()
        assert groups.get_members("g") == ()
        await groups.join("g", a)
        await groups.leave("g", a)
        await here.turns()
        assert groups.which_groups() == ()
        assert groups._table.local.by_group == {}
        assert here.watched == set()


async def test_leaving_a_group_one_is_not_in_is_an_error(place: Stage) -> None:
    """S75: not_joined; but one member among those named is enough, as in pg."""
    async with place() as here:
        groups, a, b = here.groups, here.member(), here.member()
        await groups.join("g", a)
        with pytest.raises(NotJoined, match="'g'") as caught:
            await groups.leave("g", b)
        assert (caught.value.group, caught.value.refs) == ("g", (b,))
        with pytest.raises(NotJoined):
            await groups.leave("h", a)
        await groups.leave("g", b, a)
        assert groups.get_members("g") == ()


async def test_the_dead_do_not_join_nor_anybody_with_them(place: Stage) -> None:
    """S75."""
    async with place() as here:
        a, b = here.member(), here.member()
        await here.end(b)
        with pytest.raises(ActorDead, match="'g'"):
            await here.groups.join("g", a, b)
        assert here.groups.get_members("g") == ()


async def test_only_actors_of_this_node_join_and_leave(place: Stage) -> None:
    """S75: nolocal."""
    async with place() as here, place() as there:
        stranger = there.member()
        for change in (here.groups.join, here.groups.leave):
            with pytest.raises(InvalidOption, match="this node"):
                change("g", stranger)


async def test_a_group_that_is_not_hashable_is_refused_at_once(place: Stage) -> None:
    """S75."""
    unhashable: Any = ["g"]
    async with place() as here:
        a = here.member()
        for call in (here.groups.join, here.groups.leave, here.groups.monitor):
            with pytest.raises(InvalidOption, match="hashable"):
                call(unhashable, a)


async def test_membership_is_not_transitive_across_nodes(place: Stage) -> None:
    """S75: what one node has learnt of another is not what it tells."""
    async with place() as here, place() as there:
        stranger = there.member()
        here.groups.merge_join("there", "g", (stranger,))
        assert here.groups.get_members("g") == (stranger,)
        assert here.groups.local_groups() == {}
        assert here.local_changes == []


# ------------------------------------------------------------------------------------ monitors


async def test_the_monitor_of_a_group_gets_its_joins_and_leaves(place: Stage) -> None:
    """S75: {Ref, join|leave, Group, Pids}, from the members at that moment on."""
    async with place() as here:
        groups, a, b, watcher = here.groups, here.member(), here.member(), here.member()
        await groups.join("g", a)
        number, members = await groups.monitor("g", watcher)
        assert members == (a,)
        await groups.join("g", b, b)
        await groups.join("h", b)
        await groups.leave("g", b)
        await here.end(a, b)
        assert await here.got(watcher) == [
            GroupChange(number, "join", "g", (b, b)),
            GroupChange(number, "leave", "g", (b,)),
            GroupChange(number, "leave", "g", (a,)),
            GroupChange(number, "leave", "g", (b,)),
        ]


async def test_the_monitor_of_a_scope_gets_all(place: Stage) -> None:
    """S75."""
    async with place() as here:
        groups, a, watcher = here.groups, here.member(), here.member()
        await groups.join("g", a)
        number, members = await groups.monitor_scope(watcher)
        assert members == {"g": (a,)}
        await groups.join("h", a)
        await groups.leave("g", a)
        assert await here.got(watcher) == [
            (number, "join", "h", (a,)),
            (number, "leave", "g", (a,)),
        ]


async def test_monitors_are_many_and_taken_back_one_by_one(place: Stage) -> None:
    """S75: demonitor leaves no message behind."""
    async with place() as here:
        groups, a, watcher = here.groups, here.member(), here.member()
        first, _ = await groups.monitor("g", watcher)
        second, _ = await groups.monitor("g", watcher)
        everything, _ = await groups.monitor_scope(watcher)
        await groups.join("g", a)
        assert await groups.demonitor(first) is True
        assert await groups.demonitor(first) is False
        got = await here.got(watcher)
        assert [change.monitor for change in got] == [second, everything]
        assert await groups.demonitor(second)
        assert await groups.demonitor(everything)
        await groups.leave("g", a)
        assert await here.got(watcher) == []
        assert (groups._table.told, groups._table.monitors_of) == ({}, {})
        assert here.watched == set()


async def test_a_monitor_ends_with_its_actor(place: Stage) -> None:
    """S75."""
    async with place() as here:
        groups, watcher = here.groups, here.member()
        number, _ = await groups.monitor("g", watcher)
        await here.end(watcher)
        assert groups._table.monitors == {}
        assert await groups.demonitor(number) is False


async def test_a_thread_actor_is_told_as_well(place: Stage) -> None:
    """S75."""
    async with place() as here:
        a, watcher = here.member(), here.member(ThreadMember)
        number, _ = await here.groups.monitor("g", watcher)
        await here.groups.join("g", a)
        assert await watcher.call("got") == [(number, "join", "g", (a,))]
        await watcher.stop(block=False)


# ---------------------------------------------------------------------------------- the actor


async def test_the_groups_outlive_their_actor(place: Stage) -> None:
    """S75, S63: what happened in between is made up for."""
    async with place() as here:
        groups, a, b, watcher = here.groups, here.member(), here.member(), here.member()
        await groups.join("g", a, b)
        number, _ = await groups.monitor("g", watcher)
        await here.turns()
        await here.end(here.keeper)
        c = here.member()
        await groups.join("g", c)
        await here.end(a)
        assert groups.get_members("g") == (b, c)
        assert await here.got(watcher) == [(number, "join", "g", (c,))]
        here.serve()
        assert await here.got(watcher) == [(number, "leave", "g", (a,))]
        await here.end(b, c)
        assert [change.refs for change in await here.got(watcher)] == [(b,), (c,)]


# -------------------------------------------------------------------------------- other nodes


async def test_members_of_other_nodes_are_merged(place: Stage) -> None:
    """S75: discover and sync; monitors learn the difference."""
    async with place() as here, place() as there:
        groups, a, watcher = here.groups, here.member(), here.member()
        x, y = there.member(), there.member()
        await groups.join("g", a)
        number, _ = await groups.monitor_scope(watcher)
        groups.sync("there", {"g": [x, x], "h": [y]})
        assert groups.get_members("g") == (a, x, x)
        assert (groups.get_local_members("g"), groups.which_local_groups()) == ((a,), ("g",))
        assert groups.which_groups() == ("g", "h")
        groups.sync("there", {"g": [x, y]})
        assert groups.get_members("g") == (a, x, y)
        assert await here.got(watcher) == [
            (number, "join", "g", (x, x)),
            (number, "join", "h", (y,)),
            (number, "leave", "g", (x,)),
            (number, "join", "g", (y,)),
            (number, "leave", "h", (y,)),
        ]


async def test_a_lost_node_takes_its_members_along_and_no_others(place: Stage) -> None:
    """S75: nodedown removes that node's pids; on reconnect full resync."""
    async with place() as here, place() as there:
        groups, a, watcher = here.groups, here.member(), here.member()
        x, y = there.member(), there.member()
        await groups.join("g", a)
        groups.merge_join("one", "g", (x, x))
        groups.merge_join("two", "g", (y,))
        number, _ = await groups.monitor("g", watcher)
        groups.sync("one", {})
        assert groups.get_members("g") == (a, y)
        assert await here.got(watcher) == [(number, "leave", "g", (x, x))]
        groups.sync("one", {"g": [x]})
        assert groups.get_members("g") == (a, y, x)


async def test_a_leave_of_somebody_unknown_is_ignored(place: Stage) -> None:
    """S75: it may have overtaken the sync."""
    async with place() as here, place() as there:
        x, watcher = there.member(), here.member()
        await here.groups.monitor_scope(watcher)
        here.groups.merge_leave("there", "g", (x,))
        here.groups.merge_join("there", "g", (x,))
        here.groups.merge_leave("there", "h", (x,))
        here.groups.merge_leave("there", "g", (x, x))
        assert [change.change for change in await here.got(watcher)] == ["join", "leave"]


async def test_other_nodes_can_be_told_of_every_local_change(place: Stage) -> None:
    """S75: each change, and all there is for a node that has just come."""
    async with place() as here:
        groups, a, b = here.groups, here.member(), here.member()
        await groups.join("g", a, b)
        await groups.join("g", a)
        assert groups.local_groups() == {"g": (a, a, b)}
        await groups.leave("g", b)
        await here.end(a)
        assert here.local_changes == [
            LocalChange("join", "g", (a, b)),
            LocalChange("join", "g", (a,)),
            LocalChange("leave", "g", (b,)),
            LocalChange("leave", "g", (a, a)),
        ]


@pytest.mark.parametrize("error", [OSError, asyncio.CancelledError, SystemExit])
async def test_a_failure_to_tell_other_nodes_is_logged_and_changes_nothing(
    place: Stage, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """S75."""
    async with place() as here:

        def fail(_change: LocalChange) -> None:
            raise error

        groups, a = Groups(system=here.system, on_local_change=fail), here.member()
        await groups.join("g", a)
        assert groups.get_members("g") == (a,)
        assert "telling of a change failed" in caplog.text


async def test_reading_is_possible_from_any_thread(place: Stage) -> None:
    """S75."""
    async with place() as here:
        groups, a = here.groups, here.member()

        def elsewhere() -> Any:
            groups.join("g", a).get(timeout=5)
            return groups.get_members("g"), groups.which_groups(), groups.demonitor(5).get()

        assert await asyncio.to_thread(elsewhere) == ((a,), ("g",), False)
        assert repr(groups) == "<Groups 'scope': 1 groups>"
