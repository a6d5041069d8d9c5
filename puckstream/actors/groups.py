"""Process groups: which actors belong to what, without names that clash (OTP ``pg``).

A `Groups` is one scope, independent of all others. An actor joins a group any number of times and
leaves it as often, or at its end. Groups exist while they have members. The table is written on
the loop's thread, in one step, and outlives the groups' actor, which watches the members.

Only actors of this node join here. Those of other nodes come in by `Groups.sync`,
`Groups.merge_join` and `Groups.merge_leave`, for whoever talks to those nodes to call; what there
is to tell them comes out of `Groups.local_groups` and ``on_local_change`` (pg's *discover*,
*sync*, *join* and *leave*).
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from puckstream.actors._pykka import ActorDeadError
from puckstream.actors.actor import Actor
from puckstream.actors.members import Members, Refs
from puckstream.actors.service import Service
from puckstream.actors.signals import Down
from puckstream.errors import InvalidOption, NotJoined

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.reply import Reply
    from puckstream.actors.scheduler import Scheduler

__all__ = ["GroupChange", "Groups", "GroupsActor", "LocalChange"]

logger = logging.getLogger("puckstream.actors")

Change = Literal["join", "leave"]


class GroupChange(NamedTuple):
    """Members have joined or left a group; sent to the actors that monitor it or its scope.

    An actor that joined several times is among ``refs`` as often.
    """

    monitor: int
    change: Change
    group: Hashable
    refs: Refs


class LocalChange(NamedTuple):
    """What other nodes have to be told: actors of this node have joined or left a group."""

    change: Change
    group: Hashable
    refs: Refs


class _Watch(NamedTuple):
    ref: ActorRef[Any]


class _Monitor(NamedTuple):
    ref: ActorRef[Any]
    of: tuple[Hashable, ...]  # a group, or nothing: the scope


class _Table:
    """The members of a scope by origin, and who is told of changes."""

    def __init__(self) -> None:
        self.local = Members()
        self.remote: dict[Hashable, Members] = {}
        self.monitors: dict[int, _Monitor] = {}
        self.told: dict[tuple[Hashable, ...], dict[int, ActorRef[Any]]] = {}
        self.monitors_of: dict[ActorRef[Any], dict[int, None]] = {}

    def origins(self) -> tuple[Members, ...]:
        return (self.local, *tuple(self.remote.values()))

    def needs_watch(self, ref: ActorRef[Any]) -> bool:
        return ref in self.local.by_ref or ref in self.monitors_of

    def announce(self, change: Change, group: Hashable, refs: Refs) -> None:
        if not refs:
            return
        told = (*self.told.get((group,), {}).items(), *self.told.get((), {}).items())
        for number, ref in told:
            ref._deliver(GroupChange(number, change, group, refs))

    def add_monitor(self, number: int, monitor: _Monitor) -> None:
        self.monitors[number] = monitor
        self.told.setdefault(monitor.of, {})[number] = monitor.ref
        self.monitors_of.setdefault(monitor.ref, {})[number] = None

    def forget_monitor(self, number: int) -> _Monitor | None:
        monitor = self.monitors.pop(number, None)
        if monitor is not None:
            _discard(self.told, monitor.of, number)
            _discard(self.monitors_of, monitor.ref, number)
        return monitor


def _discard(table: dict[Any, dict[int, Any]], key: object, number: int) -> None:
    numbers = table[key]
    del numbers[number]
    if not numbers:
        del table[key]


class GroupsActor(Actor):
    """Watches the members of a scope, and has the dead leave everywhere."""

    def __init__(self, groups: Groups) -> None:
        super().__init__()
        self._groups = groups
        self._table = groups._table
        self._watched: dict[ActorRef[Any], int] = {}

    def on_start(self) -> None:
        """Take the table over from a predecessor, if there was one."""
        self._groups.service.provided_by(self.actor_ref)
        for ref in (*self._table.local.by_ref, *self._table.monitors_of):
            self._watch(ref)

    def on_receive(self, message: Any) -> Any:
        """Watch a member, or clear up after one."""
        match message:
            case _Watch(ref):
                self._watch(ref)
            case Down(_, ref, _):
                self._watched.pop(ref, None)
                self._groups._ended(ref)
            case _:
                return super().on_receive(message)
        return None

    def _watch(self, ref: ActorRef[Any]) -> None:
        watched = self._watched
        if self._table.needs_watch(ref):
            if ref not in watched:
                watched[ref] = self.monitor(ref)
        elif ref in watched:
            self.demonitor(watched.pop(ref))


class Groups:
    """One scope of groups.

    Reading is immediate, from any thread; an actor that has ended is no member. Changes and the
    messages about them have one order, that in which they reach the loop's thread.

    Every node has one, ``node.groups``. Others are children of a node:
    ``puck.child(*rooms.actor(), id="rooms")``.

    Args:
        scope: what errors and logs call it.
        system: the engine of its node; ``None`` for that on which its actor is started.
        on_local_change: called, on the loop's thread, with every change of this node's own
            members, for whoever tells other nodes. What it raises is logged.
    """

    def __init__(
        self,
        scope: str = "groups",
        *,
        system: Scheduler | None = None,
        on_local_change: Callable[[LocalChange], object] | None = None,
    ) -> None:
        self.scope = scope
        self.service = Service(system, f"scope {scope!r}")
        self._table = _Table()
        self._on_local_change = on_local_change
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Groups {self.scope!r}: {len(self.which_groups())} groups>"

    def actor(self) -> tuple[type[GroupsActor], Groups]:
        """Return the class and the argument of the actor that keeps this scope."""
        return GroupsActor, self

    # -- members

    def join(self, group: Hashable, *refs: ActorRef[Any]) -> Reply[None]:
        """Make ``refs``, or the calling actor, members of ``group``; all of them or none.

        Joining twice takes two `leave` calls to undo, and one death.

        Raises (when awaited):
            ActorDead: if one of them has stopped.

        Raises (at once):
            InvalidOption: if ``group`` is not hashable, or one of them an actor of another node
                (pg's ``nolocal``).
            NotInActor: if no ``refs`` are given and no actor is calling.
        """
        _check_group(group)
        members = self._local(refs)

        def join() -> None:
            for ref in members:
                if not ref.is_alive():
                    msg = f"{ref} has stopped and cannot join the group {group!r}"
                    raise ActorDeadError(msg)
            self._table.local.add(group, members)
            for ref in members:
                self.service.tell(_Watch(ref))
            self._changed("join", group, members)

        return self.service.system.perform(join)

    def leave(self, group: Hashable, *refs: ActorRef[Any]) -> Reply[None]:
        """Take back one join of each of ``refs``, or of the calling actor.

        Raises (when awaited):
            NotJoined: if none of them is a member.

        Raises (at once):
            InvalidOption: if ``group`` is not hashable, or one of them an actor of another node
                (pg's ``nolocal``).
            NotInActor: if no ``refs`` are given and no actor is calling.
        """
        _check_group(group)
        members = self._local(refs)

        def leave() -> None:
            removed = self._table.local.remove(group, members)
            if not removed:
                raise NotJoined(group, members)
            for ref in removed:
                self.service.tell(_Watch(ref))
            self._changed("leave", group, removed)

        return self.service.system.perform(leave)

    def get_members(self, group: Hashable) -> Refs:
        """Return the members of ``group`` on all nodes, each as often as it has joined.

        This node's come first, in the order of their first join. A group without members is one
        that does not exist, and has none.
        """
        origins = self._table.origins()
        return tuple(ref for origin in origins for ref in origin.members(group))

    def get_local_members(self, group: Hashable) -> Refs:
        """Return the members of ``group`` on this node; see `get_members`."""
        return tuple(self._table.local.members(group))

    def which_groups(self) -> tuple[Hashable, ...]:
        """Return the groups that have members."""
        found = (origin.groups() for origin in self._table.origins())
        return tuple(dict.fromkeys(itertools.chain.from_iterable(found)))

    def which_local_groups(self) -> tuple[Hashable, ...]:
        """Return the groups that have members on this node."""
        return tuple(self._table.local.groups())

    # -- being told

    def monitor(self, group: Hashable, ref: ActorRef[Any] | None = None) -> Reply[tuple[int, Refs]]:
        """Have ``ref``, or the calling actor, told of every change of ``group``.

        The group need not exist. Each call is a monitor of its own; it ends with the actor.

        Returns:
            A reply with the monitor's number and the present members. The `GroupChange` messages
            of that number say what has changed since, without a gap.

        Raises (at once):
            InvalidOption: if ``group`` is not hashable.
            NotInActor: if no ``ref`` is given and no actor is calling.
        """
        _check_group(group)
        watcher = self.service.own(ref)

        def monitor() -> tuple[int, Refs]:
            return self._add_monitor(_Monitor(watcher, (group,))), self.get_members(group)

        return self.service.system.perform(monitor)

    def monitor_scope(
        self, ref: ActorRef[Any] | None = None
    ) -> Reply[tuple[int, dict[Hashable, Refs]]]:
        """Have ``ref``, or the calling actor, told of every change of every group.

        Returns:
            A reply with the monitor's number and the present members of all groups, as `monitor`.

        Raises (at once):
            NotInActor: if no ``ref`` is given and no actor is calling.
        """
        watcher = self.service.own(ref)

        def monitor() -> tuple[int, dict[Hashable, Refs]]:
            number = self._add_monitor(_Monitor(watcher, ()))
            return number, {group: self.get_members(group) for group in self.which_groups()}

        return self.service.system.perform(monitor)

    def demonitor(self, monitor: int) -> Reply[bool]:
        """Take a monitor back; no `GroupChange` of it remains in its actor's mailbox.

        Returns:
            A reply that says whether there was such a monitor.
        """

        def demonitor() -> bool:
            found = self._table.forget_monitor(monitor)
            if found is None:
                return False
            self.service.tell(_Watch(found.ref))
            found.ref._forget(
                lambda message: type(message) is GroupChange and message.monitor == monitor
            )
            return True

        return self.service.system.perform(demonitor)

    # -- other nodes; on the loop's thread

    def local_groups(self) -> dict[Hashable, Refs]:
        """Return what another node has to know of this one: its groups and their members."""
        return self._table.local.groups()

    def sync(self, origin: Hashable, groups: Mapping[Hashable, Iterable[ActorRef[Any]]]) -> None:
        """Replace what is known of the node ``origin`` by ``groups``.

        Monitors are told of the difference. Without groups the node is forgotten, which is what
        its loss means.
        """
        known = self._table.remote.get(origin) or Members()
        news = {group: tuple(refs) for group, refs in groups.items()}
        for group in (
            *tuple(known.by_group),
            *(group for group in news if group not in known.by_group),
        ):
            before = Counter(known.by_group.get(group, {}))
            after = Counter(news.get(group, ()))
            self.merge_leave(origin, group, tuple((before - after).elements()))
            self.merge_join(origin, group, tuple((after - before).elements()))

    def merge_join(self, origin: Hashable, group: Hashable, refs: Refs) -> None:
        """Note that actors of the node ``origin`` have joined ``group``."""
        if refs:
            self._table.remote.setdefault(origin, Members()).add(group, refs)
            self._table.announce("join", group, refs)

    def merge_leave(self, origin: Hashable, group: Hashable, refs: Refs) -> None:
        """Note that actors of the node ``origin`` have left ``group``; strangers are ignored."""
        known = self._table.remote.get(origin)
        if known is not None:
            self._table.announce("leave", group, known.remove(group, refs))
            if not known.by_group:
                del self._table.remote[origin]

    # -- inside

    def _changed(self, change: Change, group: Hashable, refs: Refs) -> None:
        self._table.announce(change, group, refs)
        if self._on_local_change is not None:
            try:
                self._on_local_change(LocalChange(change, group, refs))
            except BaseException as error:
                logger.exception("%r: telling of a change failed", self)
                here = threading.current_thread()
                # Ctrl-C belongs to the program; it comes to the main thread only.
                if isinstance(error, KeyboardInterrupt) and here is threading.main_thread():
                    raise

    def _ended(self, ref: ActorRef[Any]) -> None:
        """Have an actor that has ended leave every group, and forget its monitors."""
        table = self._table
        for number in tuple(table.monitors_of.get(ref, ())):
            table.forget_monitor(number)
        for group in tuple(table.local.by_ref.get(ref, ())):
            joins = table.local.by_group[group][ref]
            self._changed("leave", group, table.local.remove(group, (ref,) * joins))

    def _add_monitor(self, monitor: _Monitor) -> int:
        number = next(self._numbers)
        self._table.add_monitor(number, monitor)
        self.service.tell(_Watch(monitor.ref))
        return number

    def _local(self, refs: Refs) -> Refs:
        return tuple(self.service.own(ref) for ref in refs) or (self.service.own(None),)


def _check_group(group: object) -> None:
    try:
        hash(group)
    except TypeError:
        option = "group"
        raise InvalidOption(option, group, "a group is hashable, such as text") from None
