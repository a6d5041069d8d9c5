"""The supervision tree as a value: what ran, and how, at one moment.

A snapshot never changes and holds nothing that runs but the refs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from puckstream.supervision.child import ChildType

__all__ = ["Tree"]

_PRINTED_CHILDREN = 50


@dataclass(frozen=True, slots=True)
class Tree:
    """An actor and, if it supervises, everything below it.

    ``str(tree)`` draws it, with the first 50 children of each supervisor; `render` draws more.

    Args:
        id: the child's id within its supervisor; unique there, not in the whole tree.
        ref: its actor; None if it does not run.
        kind: ``"worker"`` or ``"supervisor"``.
        state: ``"running"``, ``"restarting"``, ``"stopped"``, ``"stuck"`` and the like.
        strategy: a supervisor's strategy.
        intensity: the restarts it allows inside ``period``.
        period: the window of its restart intensity, in seconds.
        restarts_in_window: how many of its restarts count at the moment.
        restart_count: how often this child itself was started again.
        mailbox: messages that wait for it; None if not known.
        uptime: seconds since its start; None if it does not run.
        children: its children, in start order.
        detail: more about it, one line for a person.
    """

    id: Hashable
    ref: Any = None
    kind: ChildType = "worker"
    state: str = "running"
    strategy: str | None = None
    intensity: int | None = None
    period: float | None = None
    restarts_in_window: int = 0
    restart_count: int = 0
    mailbox: int | None = None
    uptime: float | None = None
    children: tuple[Tree, ...] = ()
    detail: str = ""

    def walk(self) -> Iterator[Tree]:
        """Yield this node and all below it, a parent before its children, in start order."""
        waiting: list[Tree] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def find(self, id: Hashable) -> Tree | None:
        """Return the first node of that id, in the order of `walk`; None if there is none."""
        return next((node for node in self.walk() if node.id == id), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as dicts, lists, strings and numbers, ready for `json.dumps`.

        Ids stay as they are if JSON has them, and else become text; refs become text.
        """
        return {
            "id": self.id if isinstance(self.id, (str, int)) else str(self.id),
            "ref": None if self.ref is None else str(self.ref),
            "kind": self.kind,
            "state": self.state,
            "strategy": self.strategy,
            "intensity": self.intensity,
            "period": self.period,
            "restarts_in_window": self.restarts_in_window,
            "restart_count": self.restart_count,
            "mailbox": self.mailbox,
            "uptime": self.uptime,
            "detail": self.detail,
            "children": [node.to_dict() for node in self.children],
        }

    def render(self, max_children: int | None = None) -> str:
        """Return the tree drawn as text, a line for each node, without a final newline.

        Args:
            max_children: how many children of each supervisor to draw; the others are
                counted on a line of their own. None draws them all.
        """
        return "\n".join(self._lines(max_children))

    def __str__(self) -> str:
        return self.render(_PRINTED_CHILDREN)

    def _lines(self, max_children: int | None) -> Iterator[str]:
        # Each entry: what stands before the node, before its children, and what to draw.
        waiting: list[tuple[str, str, Tree | str]] = [("", "", self)]
        while waiting:
            head, margin, node = waiting.pop()
            if isinstance(node, str):
                yield head + node
                continue
            yield head + _line(node)
            shown: list[Tree | str] = list(node.children[:max_children])
            hidden = len(node.children) - len(shown)
            if hidden:
                shown.append(f"… and {hidden} more")
            for position, below in enumerate(reversed(shown)):
                branch, rest = ("└── ", "    ") if position == 0 else ("├── ", "│   ")
                waiting.append((margin + branch, margin + rest, below))


def _line(node: Tree) -> str:
    parts = [str(node.id), node.state]
    if node.strategy is not None:
        parts.append(node.strategy)
    if node.intensity is not None and node.period is not None:
        window = f"{node.restarts_in_window} of {node.intensity} restarts"
        parts.append(f"{window} in {node.period:g} s")
    if node.restart_count:
        parts.append(f"restarted {node.restart_count}×")
    if node.mailbox:
        parts.append(f"{node.mailbox} waiting")
    if node.uptime is not None:
        parts.append(f"up {_duration(node.uptime)}")
    if node.detail:
        parts.append(node.detail)
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
