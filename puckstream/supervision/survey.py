"""Reading a supervision tree off the running actors.

No message is sent: a snapshot is read on the loop's thread, between handlers, and so shows a
busy, stuck or looping actor as well as an idle one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from puckstream.supervision.place import ChildRow
from puckstream.supervision.tree import Tree

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

__all__ = ["state_of", "survey", "survey_row"]


def survey(ref: ActorRef[Any], id: Hashable) -> Tree:  # the field's name
    """Return what there is to see of ``ref``; on the loop's thread.

    A supervisor has a method ``survey(id)`` that returns the tree below it, itself at its root.
    Any other actor may have a method ``describe()``, which neither blocks nor raises and returns
    what there is to say about it on its line.
    """
    actor: Any = ref._actor
    # Protocols would say this too, but isinstance of one takes longer than all the rest.
    if actor is not None and ref.actor_class.child_type == "supervisor":
        below: Callable[[Hashable], Tree] | None = getattr(actor, "survey", None)
        if below is not None:
            return below(id)
    describe: Callable[[], str] | None = getattr(actor, "describe", None)
    detail = "" if describe is None else describe()
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
