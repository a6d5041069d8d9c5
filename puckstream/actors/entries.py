"""The table of a registry: who owns which key with which value.

It is written on the loop's thread, in one step each time, and read from any thread. An owner that
has ended counts no more, also while its entries are still there. There is one table: writing it
takes no lock, and partitions, which spread the locks of OTP's tables, would gain nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from puckstream.errors import InvalidOption, NameTaken, NotRegistered

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

__all__ = ["Entry", "Keys", "Registration", "Table", "check_key"]

Keys = Literal["unique", "duplicate"]
"""Whether a key has one owner at a time, or any number."""


class Entry(NamedTuple):
    """Who owns a key, and the value stored with it."""

    ref: ActorRef[Any]
    value: Any


class Registration(NamedTuple):
    """One entry of a registry, with its key."""

    key: Hashable
    ref: ActorRef[Any]
    value: Any


class Table:
    """Entries, numbered in the order of registration, by key and by owner."""

    def __init__(self, keys: Keys) -> None:
        self.keys: Keys = keys
        self.by_key: dict[Hashable, dict[int, Entry]] = {}
        self.by_owner: dict[ActorRef[Any], dict[int, Hashable]] = {}
        self._numbers = itertools.count()

    # -- reading, from any thread: of a copy made in one step, since the loop may write meanwhile

    def live(self, key: Hashable) -> Iterator[Entry]:
        """Go through the entries of ``key`` whose owners live.

        Raises:
            InvalidOption: if ``key`` is not hashable.
        """
        try:
            entries = self.by_key.get(key)
        except TypeError:
            check_key(key)
            raise
        if entries is not None:
            for entry in entries.copy().values():
                if entry.ref.is_alive():
                    yield entry

    def all(self) -> Iterator[Registration]:
        """Go through all entries whose owners live, key by key."""
        for key in self.by_key.copy():
            for ref, value in self.live(key):
                yield Registration(key, ref, value)

    def keys_of(self, ref: ActorRef[Any]) -> tuple[Hashable, ...]:
        """Return the keys of ``ref``, one for each of its entries."""
        return tuple(self.by_owner.get(ref, {}).copy().values())

    # -- writing, on the loop's thread

    def insert(self, key: Hashable, ref: ActorRef[Any], value: Any) -> None:
        """Enter ``ref`` under ``key``.

        Raises:
            NameTaken: if keys are unique and a live actor has an entry.
        """
        if self.keys == "unique":
            for entry in self.live(key):
                raise NameTaken(key, entry.ref)
        number = next(self._numbers)
        self.by_key.setdefault(key, {})[number] = Entry(ref, value)
        self.by_owner.setdefault(ref, {})[number] = key

    def update(
        self, key: Hashable, ref: ActorRef[Any], function: Callable[[Any], Any]
    ) -> tuple[Any, Any]:
        """Replace the value of ``ref`` under ``key``; return the new one and the old one.

        Raises:
            NotRegistered: if ``ref`` has no entry there.
            BaseException: what ``function`` raises; nothing was changed.
        """
        for number, entry in tuple(self.by_key.get(key, {}).items()):
            if entry.ref is ref and ref.is_alive():
                value = function(entry.value)
                # The function may have done anything, unregister the actor for one.
                if self.by_key.get(key, {}).get(number) is not entry:
                    break
                self.by_key[key][number] = Entry(ref, value)
                return value, entry.value
        raise NotRegistered(key, ref)

    def remove(
        self, key: Hashable, ref: ActorRef[Any], unwanted: Callable[[Any], bool] | None = None
    ) -> bool:
        """Remove the entries of ``ref`` under ``key``, or those with an ``unwanted`` value.

        Returns:
            Whether there were some, and now are none.
        """
        entries, owned = self.by_key.get(key, {}), self.by_owner.get(ref, {})
        # Whichever is shorter: a key may have 10,000 owners, and an owner as many keys.
        if len(entries) <= len(owned):
            own = [(number, entry) for number, entry in entries.items() if entry.ref is ref]
        else:
            own = [(number, entries[number]) for number, other in owned.items() if other == key]
        going = [number for number, entry in own if unwanted is None or unwanted(entry.value)]
        for number in going:
            self._drop(key, ref, number)
        return 0 < len(going) == len(own)

    def remove_owner(self, ref: ActorRef[Any]) -> None:
        """Remove all entries of ``ref``."""
        for number, key in tuple(self.by_owner.get(ref, {}).items()):
            self._drop(key, ref, number)

    def _drop(self, key: Hashable, ref: ActorRef[Any], number: int) -> None:
        _discard(self.by_key, key, number)
        _discard(self.by_owner, ref, number)


def _discard(table: dict[Any, dict[int, Any]], place: object, number: int) -> None:
    entries = table.get(place)
    if entries is not None:
        entries.pop(number, None)
        if not entries:
            del table[place]


def check_key(key: object) -> None:
    """Refuse what cannot be a key.

    Raises:
        InvalidOption: if ``key`` is not hashable.
    """
    try:
        hash(key)
    except TypeError:
        option = "key"
        raise InvalidOption(option, key, "a key is hashable, such as text") from None
