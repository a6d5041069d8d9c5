"""Links, monitors and exit signals (OTP "Processes", chapter on errors).

Everything here runs on the loop's thread, so that a link or monitor is either made or answered:
there is no moment between. A supervisor's child keeps its side of the link in one slot, because
100,000 children would otherwise need 100,000 tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from puckstream.actors.signals import NO_ACTOR, Down, Exit, ExitReason, Kill, ParentExit
from puckstream.actors.state import DEAD, STOPPING
from puckstream.errors import InvalidOption

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler

__all__ = [
    "adopt",
    "demonitor",
    "disown",
    "link",
    "monitor",
    "notify",
    "require_same_node",
    "shut_down",
    "signal",
    "unlink",
]


def adopt(parent: ActorRef[Any], child: ActorRef[Any]) -> None:
    """Link ``child`` to its supervisor ``parent``."""
    child._parent = parent
    extra = parent._ensure_extra()
    if extra.links is None:
        extra.links = {}
    extra.links[child] = None


def disown(child: ActorRef[Any]) -> None:
    """Unlink ``child`` from its parent; no exit signal passes between them any more."""
    parent, child._parent = child._parent, None
    if parent is not None and parent._extra is not None and parent._extra.links is not None:
        parent._extra.links.pop(child, None)


def link(one: ActorRef[Any], other: ActorRef[Any]) -> None:
    """Link two actors; linking twice is linking once, and so is linking parent and child.

    Raises:
        ActorDeadError: if ``other`` is dead and ``one`` does not trap exits (OTP ``noproc``).
        InvalidOption: if ``other`` is an actor of another node.
    """
    require_same_node(one, other)
    if one is other or one._state >= STOPPING or one._parent is other or other._parent is one:
        return
    if other._state == DEAD:
        if one._actor is not None and one._actor.trap_exit:
            one._deliver(Exit(other, NO_ACTOR))
            return
        raise other._dead()
    for this, peer in ((one, other), (other, one)):
        extra = this._ensure_extra()
        if extra.links is None:
            extra.links = {}
        extra.links[peer] = None


def require_same_node(one: ActorRef[Any], other: ActorRef[Any]) -> None:
    """Refuse what would have signals pass between two nodes, each of which has its own thread.

    Raises:
        InvalidOption: if ``other`` is an actor of another node than ``one``.
    """
    if one._system is not other._system:
        option, expected = "ref", "an actor of the same node; have one there watch it, and tell you"
        raise InvalidOption(option, other, expected)


def unlink(one: ActorRef[Any], other: ActorRef[Any]) -> None:
    """Remove the link between two actors, that of a child and its parent included.

    An `Exit` of ``other`` that is still queued at ``one`` is removed.
    """
    for this, peer in ((one, other), (other, one)):
        if this._parent is peer:
            this._parent = None
            if peer._extra is not None and peer._extra.mourner is not None:
                this._on_death(peer._extra.mourner)
        if this._extra is not None and this._extra.links is not None:
            this._extra.links.pop(peer, None)
    one._forget(lambda message: type(message) is Exit and message.ref is other)


def monitor(watcher: ActorRef[Any], target: ActorRef[Any], number: int) -> None:
    """Have ``watcher`` get one `Down` with ``number`` when ``target`` ends.

    Both are of one node; see `require_same_node`.
    """
    if target._state == DEAD:
        watcher._deliver(Down(number, target, NO_ACTOR))
        return
    if watcher._state >= STOPPING:
        return
    extra = target._ensure_extra()
    if extra.monitors is None:
        extra.monitors = {}
    extra.monitors[number] = watcher
    own = watcher._ensure_extra()
    if own.watching is None:
        own.watching = {}
    own.watching[number] = target


def demonitor(watcher: ActorRef[Any], number: int) -> None:
    """Take a monitor back; a `Down` of it that is still queued is removed (OTP ``flush``)."""
    extra = watcher._extra
    target = None if extra is None or extra.watching is None else extra.watching.pop(number, None)
    if target is not None:
        if target._extra is not None and target._extra.monitors is not None:
            target._extra.monitors.pop(number, None)
        return
    watcher._forget(lambda message: type(message) is Down and message.monitor == number)


def notify(system: Scheduler, dead: ActorRef[Any], reason: ExitReason) -> None:
    """Tell parent, links and monitors of ``dead`` that it ended, each exactly once."""
    parent, dead._parent = dead._parent, None
    if parent is not None:
        above = parent._extra
        if above is not None and above.mourner is not None:
            above.mourner(dead, reason)
        else:
            if above is not None and above.links is not None:
                above.links.pop(dead, None)
            signal(system, parent, reason, dead, linked=True)
    extra = dead._extra
    if extra is None:
        return
    links, extra.links = extra.links, None
    if links:
        for peer in links:
            peer_links = None if peer._extra is None else peer._extra.links
            if peer_links is not None:
                peer_links.pop(dead, None)
            signal(system, peer, reason, dead, linked=True)
            if peer._parent is dead:
                peer._parent = None
    monitors, extra.monitors = extra.monitors, None
    if monitors:
        for number, watcher in monitors.items():
            if watcher._extra is not None and watcher._extra.watching is not None:
                watcher._extra.watching.pop(number, None)
            watcher._deliver(Down(number, dead, reason))
    watching, extra.watching = extra.watching, None
    if watching:
        for number, target in watching.items():
            if target._extra is not None and target._extra.monitors is not None:
                target._extra.monitors.pop(number, None)


def shut_down(child: ActorRef[Any], reason: ExitReason) -> None:
    """Ask ``child`` to end, as its parent; it need not be linked any more.

    One that traps exits gets to run ``on_stop``; any other ends ahead of its queued messages.
    """
    actor = child._actor
    if actor is None:
        return
    if actor.trap_exit:
        child._deliver(ParentExit(reason))
    else:
        child._take_exit(reason)


def signal(
    system: Scheduler,
    target: ActorRef[Any],
    reason: ExitReason,
    source: ActorRef[Any] | None,
    *,
    linked: bool = False,
) -> None:
    """Carry out an exit signal from ``source`` (OTP ``exit/2``, and links).

    Args:
        linked: whether it comes over a link, where `Kill` has become `Killed` already and a
            normal end of a peer means nothing.
    """
    actor = target._actor
    if target._state == DEAD or actor is None:
        return
    if type(reason) is Kill and not linked:
        system.kill(target)
    elif actor.trap_exit:
        # Code outside of any actor counts as the parent of an actor that has none.
        if source is target._parent:
            target._deliver(ParentExit(reason))
        else:
            target._deliver(Exit(source, reason))
    elif not (reason.normal and source is not target):
        target._take_exit(reason)
