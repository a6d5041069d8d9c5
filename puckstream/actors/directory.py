"""The reading side of a registry: lookups, patterns, and `dispatch`.

Everything here is immediate and works from any thread. An owner that has ended has no entries.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

from puckstream.actors.entries import Entry, Keys, Registration, Table
from puckstream.actors.pattern import fits
from puckstream.actors.via import Via

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.service import Service

__all__ = ["Directory", "matcher"]

T = TypeVar("T")


class Directory:
    """What a `Registry` can tell about its entries.

    Args:
        keys: whether they are unique.
        service: of the registry; reading is refused before it has been started.
    """

    def __init__(self, keys: Keys, service: Service) -> None:
        self.table = Table(keys)
        self.service = service

    def lookup(self, key: Hashable) -> tuple[Entry, ...]:
        """Return the entries of ``key`` whose owners live, in order of registration.

        Raises:
            InvalidOption: if ``key`` is not hashable.
            NodeNotRunning: if the registry has not been started; so does all reading.
        """
        if type(key) is Via:
            return key.registry.lookup(key.key)
        self.service.require_started()
        return tuple(self.table.live(key))

    def keys(self, ref: ActorRef[Any]) -> tuple[Hashable, ...]:
        """Return the keys ``ref`` owns, in order of registration; none if it has stopped.

        A duplicate key is there once for each entry.
        """
        self.service.require_started()
        return self.table.keys_of(ref) if ref.is_alive() else ()

    def values(self, key: Hashable, ref: ActorRef[Any]) -> tuple[Any, ...]:
        """Return the values of ``ref`` under ``key``, in order of registration.

        Raises:
            InvalidOption: if ``key`` is not hashable.
        """
        return tuple(entry.value for entry in self.lookup(key) if entry.ref is ref)

    def match(
        self,
        key: Hashable,
        pattern: object,
        *,
        where: Callable[[Any], object] | None = None,
    ) -> tuple[Entry, ...]:
        """Return the entries of ``key`` whose value fits ``pattern``.

        ``...`` fits anything; a tuple or list fits one of the same length whose items fit, a
        mapping fits one that has its keys, with values that fit; all else is compared with ``==``.

        Args:
            where: called with each value that fits; only those for which it is true are taken.

        Raises:
            InvalidOption: if ``key`` is not hashable.
            BaseException: what ``where``, or a comparison with ``pattern``, raises.
        """
        wanted = matcher(pattern, where)
        return tuple(entry for entry in self.lookup(key) if wanted(entry.value))

    def count_match(
        self,
        key: Hashable,
        pattern: object,
        *,
        where: Callable[[Any], object] | None = None,
    ) -> int:
        """Return the number of entries that `match` would return; it raises the same."""
        return len(self.match(key, pattern, where=where))

    def select(
        self,
        pattern: object = ...,
        *,
        where: Callable[[Registration], object] | None = None,
    ) -> tuple[Registration, ...]:
        """Return the entries of all keys that fit, as tuples of key, ref and value.

        Args:
            pattern: as in `match`, compared with the whole tuple: ``(("room", ...), ..., ...)``.
            where: called with each tuple that fits.

        Raises:
            BaseException: what ``where``, or a comparison with ``pattern``, raises.
        """
        self.service.require_started()
        wanted = matcher(pattern, where)
        return tuple(entry for entry in self.table.all() if wanted(entry))

    def count(self) -> int:
        """Return the number of entries whose owners live."""
        return len(self.select())

    def dispatch(self, key: Hashable, function: Callable[[tuple[Entry, ...]], T]) -> T | None:
        """Call ``function(entries)`` with the entries of ``key``, here and now, if there are any.

        Returns:
            What the function returns, or ``None`` if there was nothing to call it for.

        Raises:
            InvalidOption: if ``key`` is not hashable.
            BaseException: what the function raises.
        """
        entries = self.lookup(key)
        return function(entries) if entries else None


def matcher(pattern: object, where: Callable[[Any], object] | None) -> Callable[[Any], bool]:
    """Return a function that says whether a value fits ``pattern``, and ``where`` is true of it."""
    if where is None:
        return lambda value: fits(pattern, value)
    return lambda value: fits(pattern, value) and bool(where(value))
