"""The members of process groups that come from one node, and how often each has joined.

Written on the loop's thread, in one step each time, and read from any thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

__all__ = ["Members", "Refs"]

Refs = tuple["ActorRef[Any]", ...]


class Members:
    """Which actors of one node are in which groups, both ways."""

    __slots__ = ("by_group", "by_ref")

    def __init__(self) -> None:
        self.by_group: dict[Hashable, dict[ActorRef[Any], int]] = {}
        self.by_ref: dict[ActorRef[Any], dict[Hashable, None]] = {}

    def add(self, group: Hashable, refs: Iterable[ActorRef[Any]]) -> None:
        """Have each join once per mention."""
        members = self.by_group.setdefault(group, {})
        for ref in refs:
            members[ref] = members.get(ref, 0) + 1
            self.by_ref.setdefault(ref, {})[group] = None

    def remove(self, group: Hashable, refs: Iterable[ActorRef[Any]]) -> Refs:
        """Remove each once per mention, and return those that were there."""
        members = self.by_group.get(group)
        if members is None:
            return ()
        removed: list[ActorRef[Any]] = []
        for ref in refs:
            count = members.get(ref, 0)
            if not count:
                continue
            removed.append(ref)
            if count > 1:
                members[ref] = count - 1
                continue
            del members[ref]
            del self.by_ref[ref][group]
            if not self.by_ref[ref]:
                del self.by_ref[ref]
        if not members:
            del self.by_group[group]
        return tuple(removed)

    def members(self, group: Hashable) -> Iterator[ActorRef[Any]]:
        """Go through the live members of ``group``, each as often as it has joined."""
        # A copy in one step, since threads read while the loop writes. Those that have ended
        # count no more, even if the groups' actor has not been told yet.
        for ref, count in tuple(self.by_group.get(group, {}).items()):
            if ref.is_alive():
                yield from itertools.repeat(ref, count)

    def groups(self) -> dict[Hashable, Refs]:
        """Return the groups that have live members, with them."""
        found = ((group, tuple(self.members(group))) for group in tuple(self.by_group))
        return {group: refs for group, refs in found if refs}
