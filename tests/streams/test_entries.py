from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings, strategies as st

from puckstream.backends.base import Chunk
from puckstream.streams.coalesce import seam
from puckstream.streams.entries import Entries, weigh
from puckstream.streams.events import StartedEvent, StartInfo
from tests.streams.test_coalesce import CHUNKS

STARTED: Any = StartedEvent(StartInfo(), seq=1)


def filled(chunks: list[Any], limit: float) -> Entries:
    entries = Entries(limit)
    for chunk in chunks:
        entries.append(chunk)
    return entries


def everything(entries: Entries, after: int, count: int | None = None) -> list[Any]:
    return list(entries.read(after, count))


@settings(max_examples=300)
@given(st.lists(CHUNKS | st.just(STARTED), max_size=60), st.integers(0, 6000), st.data())
def test_whatever_is_not_dropped_is_read_as_it_came(
    chunks: list[Any], limit: int, data: st.DataObject
) -> None:
    entries = filled(chunks, limit)
    numbered = list(enumerate(chunks, 1))
    assert entries.last == len(chunks)
    assert 0 <= entries.dropped <= max(len(chunks) - 1, 0)
    after = data.draw(st.integers(entries.dropped, len(chunks) + 2))
    count = data.draw(st.none() | st.integers(0, 70))
    expected = numbered[after:]
    assert everything(entries, after, count) == expected[:count]


@settings(max_examples=300)
@given(st.lists(CHUNKS, max_size=60), st.integers(0, 6000), st.data())
def test_runs_are_the_same_whether_they_are_packed_or_not(
    chunks: list[Chunk], limit: int, data: st.DataObject
) -> None:
    packed, loose = filled(chunks, limit), filled(chunks, float("inf"))
    after = data.draw(st.integers(packed.dropped, len(chunks)))
    assert list(packed.runs(after)) == list(loose.runs(after))
    position = after
    for entry, first, last in packed.runs(after):
        assert (first, last) == (position + 1, max(position + 1, last))
        mine: Any = entry
        assert (first == last) or mine.content == "".join(
            chunk.content for chunk in chunks[first - 1 : last]
        )
        position = last
    assert position == len(chunks)
    pairs = [seam(entry) for entry, _, _ in packed.runs(after)]
    assert all(one is None or one != two for one, two in itertools.pairwise(pairs))


def test_a_limit_bounds_what_the_entries_take_and_the_newest_stays() -> None:
    for content in ("word ", {"step": "x" * 50}, "x" * 5000):
        entries = Entries(10_000)
        for _ in range(2000):
            entries.append(Chunk("content", content))
            assert entries.size <= 10_000
        assert entries.dropped > 0
        assert everything(entries, 1999) == [(2000, Chunk("content", content))]


def test_packed_text_takes_a_fraction_and_nothing_is_dropped_while_there_is_room() -> None:
    chunks = [Chunk("content", f"word {number} ") for number in range(10_000)]
    loose, packed = filled(chunks, float("inf")), filled(chunks, 500_000)
    assert loose.size > 1_400_000
    assert packed.dropped == 0
    assert packed.size < 500_000
    assert [entry for _, entry in packed.read(0)] == chunks


def test_one_entry_larger_than_the_limit_is_kept_until_the_next_comes() -> None:
    entries = filled([Chunk("content", "a"), Chunk("content", {"x": "y" * 5000})], 1000)
    assert entries.dropped == 1
    assert [number for number, _ in entries.read(1)] == [2]
    entries.append(Chunk("content", None))
    assert entries.dropped == 2
    assert entries.size <= 1000


def test_runs_too_short_to_gain_anything_are_not_packed() -> None:
    chunks = [
        each
        for number in range(1000)
        for each in (Chunk("content", "a"), Chunk("citation", "", {"number": number}))
    ]
    entries = filled(chunks, 600_000)
    assert entries.dropped == 0
    assert len(entries._blocks) < 100
    assert [entry for _, entry in entries.read(0)] == chunks


def test_weighing_does_not_fail_whatever_objects_do() -> None:
    class Odd:
        def __sizeof__(self) -> int:
            raise RuntimeError("no")

    assert weigh({"a": [Odd(), Odd()]}) > 100
