"""Reading a supervision tree off the running actors.

No message is sent: a snapshot is read on the loop's thread, between handlers, and so shows a
busy, stuck or looping actor as well as an idle one.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from puckstream.supervision.place import ChildRow
from puckstream.supervision.tree import Tree

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

__all__ = ["Described", "Surveyed", "state_of", "survey", "survey_row"]


@runtime_checkable
class Surveyed(Protocol):
    """An actor that has children to show."""

    def survey(self, id: Hashable) -> Tree:  # the field's name
        """Return the tree below this actor, itself at its root as ``id``."""
        ...


@runtime_checkable
class Described(Protocol):
    """An actor that has a line to say about itself in the tree."""

    def describe(self) -> str:
        """Return that line; it must not block or raise."""
        ...


def survey(ref: ActorRef[Any], id: Hashable) -> Tree:  # the field's name
    """Return what there is to see of ``ref``; on the loop's thread."""
    actor = ref._actor
    if isinstance(actor, Surveyed):
        return actor.survey(id)
    detail = actor.describe() if isinstance(actor, Described) else ""
    return Tree(id, ref, state=state_of(ref), mailbox=ref.mailbox_length, detail=detail)


def state_of(ref: ActorRef[Any]) -> str:
    """Return an actor's state as a tree shows it: *running* if it takes messages as they come."""
    return "running" if ref.state in ("idle", "queued", "running") else ref.state


def survey_row(row: ChildRow[ActorRef[Any]], now: float) -> Tree:
    """Return what there is to see of one child, and of all below it."""
    spec, ref = row.spec, row.ref
    if ref is None:
        return Tree(spec.id, kind=spec.type, state=row.state, restart_count=row.restarts)
    tree = survey(ref, spec.id)
    return Tree(
        id=spec.id,
        ref=ref,
        kind=spec.type,
        state=tree.state,
        strategy=tree.strategy,
        intensity=tree.intensity,
        period=tree.period,
        restarts_in_window=tree.restarts_in_window,
        restart_count=row.restarts,
        mailbox=tree.mailbox,
        uptime=now - row.started_at if row.started_at else None,
        children=tree.children,
        detail=tree.detail,
    )
