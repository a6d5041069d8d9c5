"""The entries of a log, within a number of bytes.

While there is room every entry is kept as it came. Beyond that the old ones are packed: adjacent
deltas of text become one text and the places where each ended, a tenth of the memory, from which
every single one can still be read. When even that is too much the oldest are dropped; the newest
stays in any case. Appending costs amortised constant time.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

from puckstream.backends.base import Chunk
from puckstream.streams.coalesce import join, piece, seam
from puckstream.streams.events import StreamEvent

__all__ = ["LOG_BYTES", "Entries", "Entry", "weigh"]

Entry: TypeAlias = Chunk | StreamEvent
"""A chunk, or the event of anything else."""

LOG_BYTES: Final = 1024 * 1024
"""How many bytes the entries of one log may take, by their own estimate."""

# What an entry takes beside its content: list slot, tuple, builder's slot.
_ENTRY_BYTES: Final = 96
# What a block takes beside its content, and the fewest deltas for which packing saves anything.
_BLOCK_BYTES: Final = 256
_RUN: Final = 8
# Dropped are whole blocks; packing makes each no larger than this part of the limit.
_PARTS: Final = 16


class _Packed:
    """Adjacent deltas of text, as one text and the place where each of them ends."""

    __slots__ = ("_ends", "_like", "_text", "size")

    def __init__(self, chunks: list[Chunk]) -> None:
        self._like = piece(chunks[0], "")
        self._text = "".join([chunk.content for chunk in chunks])
        self._ends = array("I")
        end = 0
        for chunk in chunks:
            end += len(chunk.content)
            self._ends.append(end)
        self.size = _BLOCK_BYTES + sys.getsizeof(self._text) + sys.getsizeof(self._ends)

    def __len__(self) -> int:
        return len(self._ends)

    def read(self, first: int) -> Iterator[Entry]:
        """Yield the entries from index ``first`` on, as they came."""
        start = self._ends[first - 1] if first else 0
        for index in range(first, len(self._ends)):
            end = self._ends[index]
            yield piece(self._like, self._text[start:end])
            start = end

    def runs(self, first: int) -> Iterator[tuple[Entry, int]]:
        """Yield the entries from index ``first`` on as one, and how many they are."""
        start = self._ends[first - 1] if first else 0
        yield piece(self._like, self._text[start:]), len(self) - first


class _Loose:
    """Entries that stay as they came."""

    __slots__ = ("_entries", "size")

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self.size = _BLOCK_BYTES + sum(map(_weigh_entry, entries))

    def __len__(self) -> int:
        return len(self._entries)

    def read(self, first: int) -> Iterator[Entry]:
        """Yield the entries from index ``first`` on."""
        yield from self._entries[first:]

    def runs(self, first: int) -> Iterator[tuple[Entry, int]]:
        """Yield each entry from index ``first`` on."""
        for entry in self._entries[first:]:
            yield entry, 1


class Entries:
    """Entries numbered from 1, of which the oldest may be gone.

    Args:
        limit: how many bytes they may take, by their own estimate.

    Attributes:
        dropped: the number of the last entry that is gone; 0 if none is.
        size: about how many bytes they take.
        last: the number of the last one.
    """

    __slots__ = ("_blocks", "_lasts", "_packed", "_tail", "dropped", "last", "limit", "size")

    def __init__(self, limit: float = LOG_BYTES) -> None:
        self.limit = limit
        self.dropped = 0
        self.size = 0
        self.last = 0
        self._packed = 0  # the number of the last entry that is in a block, or dropped
        self._blocks: list[_Packed | _Loose] = []
        self._lasts: list[int] = []  # the number of the last entry of each block
        self._tail: list[Entry] = []

    def append(self, entry: Entry) -> None:
        """Add ``entry`` behind the last."""
        self.last += 1
        self._tail.append(entry)
        self.size += _weigh_entry(entry)
        if self.size > self.limit:
            self._shrink()

    def read(self, after: int, count: int | None = None) -> Iterable[tuple[int, Entry]]:
        """Return the entries behind number ``after``, which is not dropped, with their numbers.

        Args:
            after: at least ``dropped``.
            count: how many at most.
        """
        if after >= self._packed:
            first = after - self._packed
            stop = None if count is None else first + count
            return enumerate(self._tail[first:stop], after + 1)
        return self._read_packed(after, count)

    def runs(self, after: int) -> Iterator[tuple[Entry, int, int]]:
        """Yield what follows ``after``, which is not dropped, adjacent deltas joined.

        Yields:
            The entry, and the numbers of the first and the last it stands for.
        """
        pending: list[Any] = []
        common = None
        first = number = after
        for entry, count in self._pieces(after):
            mine = seam(entry)
            if mine is None or mine != common:
                if pending:
                    yield _joined(pending), first, number
                    pending = []
                first, common = number + 1, mine
            number += count
            if mine is None:
                yield entry, number, number
            else:
                pending.append(entry)
        if pending:
            yield _joined(pending), first, number

    def _pieces(self, after: int) -> Iterator[tuple[Entry, int]]:
        for block, first in self._blocks_from(after):
            yield from block.runs(first)
        tail = self._tail
        for index in range(max(after - self._packed, 0), len(tail)):
            yield tail[index], 1

    def _read_packed(self, after: int, count: int | None) -> Iterator[tuple[int, Entry]]:
        number = after
        end = self.last if count is None else after + count
        for block, first in self._blocks_from(after):
            for entry in block.read(first):
                if number >= end:
                    return
                number += 1
                yield number, entry
        if number < end:
            yield from enumerate(self._tail[: end - number], number + 1)

    def _blocks_from(self, after: int) -> Iterator[tuple[_Packed | _Loose, int]]:
        """Yield the blocks behind ``after``, and in each the index of the first entry behind it."""
        for at in range(bisect_right(self._lasts, after), len(self._blocks)):
            block = self._blocks[at]
            before = self._lasts[at] - len(block)
            yield block, max(after - before, 0)

    def _shrink(self) -> None:
        """Pack all but the newest entry; if that is not enough, drop the oldest blocks.

        A quarter of the limit is free afterwards, so that this is seldom.
        """
        newest = self._tail.pop()
        for block in _blocks(self._tail, self.limit / _PARTS):
            self._packed += len(block)
            self._blocks.append(block)
            self._lasts.append(self._packed)
        self._tail = [newest]
        rest = _weigh_entry(newest)
        self.size = rest + sum(block.size for block in self._blocks)
        if self.size <= self.limit * 0.75:
            return
        gone = 0
        while gone < len(self._blocks) and self.size > self.limit * 0.5:
            self.size -= self._blocks[gone].size
            self.dropped = self._lasts[gone]
            gone += 1
        del self._blocks[:gone], self._lasts[:gone]


def _blocks(entries: list[Entry], most: float) -> Iterator[_Packed | _Loose]:
    """Yield ``entries`` as blocks: long runs of deltas packed, the others as they are.

    Args:
        most: how many bytes the entries of one block may take, unless it is only one.
    """
    loose: list[Entry] = []
    size = 0
    for run in _runs(entries, most):
        weight = sum(map(_weigh_entry, run))
        packs = len(run) >= _RUN
        if loose and (packs or size + weight > most):
            yield _Loose(loose)
            loose, size = [], 0
        if packs:
            yield _Packed(run)
        else:
            loose += run
            size += weight
    if loose:
        yield _Loose(loose)


def _runs(entries: list[Entry], most: float) -> Iterator[list[Any]]:
    """Yield ``entries`` in pieces that could be packed, and what could not one by one."""
    run: list[Any] = []
    common, size = None, 0
    for entry in entries:
        mine, weight = seam(entry), _weigh_entry(entry)
        if run and (mine is None or mine != common or size + weight > most):
            yield run
            run, size = [], 0
        run.append(entry)
        common = mine
        size += weight
    if run:
        yield run


def _joined(chunks: list[Any]) -> Entry:
    return cast("Entry", chunks[0]) if len(chunks) == 1 else join(chunks)


def _weigh_entry(entry: Entry) -> int:
    if not isinstance(entry, Chunk):
        return _ENTRY_BYTES
    _, content, metadata = entry
    if isinstance(content, str) and not metadata:
        return _ENTRY_BYTES + sys.getsizeof(content)
    return _ENTRY_BYTES + weigh(content) + weigh(metadata)


def weigh(value: object) -> int:
    """Estimate the bytes ``value`` takes; shared parts count once, attributes not at all."""
    total = 0
    seen: set[int] = set()
    pending = [value]
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        # An estimate must not fail, whatever objects a user's function puts into its chunks.
        try:
            total += sys.getsizeof(item, 64)
            if isinstance(item, Mapping):
                entries = cast("Mapping[object, object]", item)
                pending += [part for pair in entries.items() for part in pair]
            elif isinstance(item, list | tuple | set | frozenset):
                pending.extend(cast("Iterable[object]", item))
        except Exception:  # noqa: BLE001
            total += 64
    return total
