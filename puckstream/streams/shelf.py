"""The streams of a node, running and ended, by id.

The shelf outlives the stream actors: a crashed actor's log stays readable, and so does the result
of one that is done, until its retention is over. It decides what is kept:

- a running stream always;
- an ended one for ``retention`` seconds, while no more than ``max_ended`` of them take no more than
  ``max_bytes``; what ended first goes first, and the bytes never push out the last one to end;
- of a dropped one the id, for the last 10,000, so that *expired* can be told from *not found*.

Every operation costs amortised constant time. Records move from running to ended by themselves,
when their log gets its terminal event.
"""

from __future__ import annotations

import base64
import math
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, cast

from puckstream.errors import InvalidOption, StreamExpired, StreamNotFound, StreamRunning
from puckstream.streams.entries import LOG_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from puckstream.streams.log import StreamRecord

__all__ = ["Shelf", "check_id", "generate_id", "topic"]

_MAX_ID_LENGTH: Final = 200
_ID_BYTES: Final = 16
_EXPIRED_REMEMBERED: Final = 10_000
_MAX_TOMBSTONES: Final = 10_000


class Shelf:
    """A node's table of streams. Belongs to one thread; nothing here blocks.

    Args:
        retention: how long an ended stream stays readable, in seconds.
        max_ended: how many ended streams are kept at most.
        max_bytes: how many bytes the logs of ended streams may take, by their own estimate.
        tombstone_ttl: how long a cancel waits for the start of its stream, in seconds.
        log_bytes: how many bytes the log of one stream may take; see `Log`.

    Raises:
        InvalidOption: if a limit is negative or not a number.
    """

    def __init__(
        self,
        *,
        retention: float = 300.0,
        max_ended: int = 1000,
        max_bytes: int = 64 * 1024 * 1024,
        tombstone_ttl: float = 120.0,
        log_bytes: float = LOG_BYTES,
    ) -> None:
        self.retention = _limit("retention", retention)
        self.max_ended = _limit("max_ended", max_ended)
        self.max_bytes = _limit("max_bytes", max_bytes)
        self.tombstone_ttl = _limit("tombstone_ttl", tombstone_ttl)
        self.log_bytes = _limit("log_bytes", log_bytes)
        self._runs = 0
        self._bytes = 0
        self._running: dict[str, StreamRecord] = {}
        # The three below are in order of time; OrderedDict drops its first entry in O(1).
        self._ended: OrderedDict[str, tuple[StreamRecord, int]] = OrderedDict()
        self._expired: OrderedDict[str, None] = OrderedDict()
        self._tombstones: OrderedDict[str, float] = OrderedDict()

    @property
    def size(self) -> int:
        """The bytes the logs of ended streams take, by their own estimate."""
        return self._bytes

    def add(self, record: StreamRecord) -> None:
        """File ``record`` and give it the next generation number of this node.

        An ended stream of the same id is replaced.

        Raises:
            InvalidOption: if the id is not possible; see `check_id`.
            StreamRunning: if a stream of that id is running; nothing is changed.
        """
        stream_id = check_id(record.id)
        if stream_id in self._running:
            raise StreamRunning(stream_id)
        self._forget_ended(stream_id)
        self._runs += 1
        record.log.generation = self._runs
        self._running[stream_id] = record
        record.log.on_end(lambda _event: self._settle(record))

    def get(self, stream_id: str, now: float) -> StreamRecord:
        """Return the record of ``stream_id``.

        Args:
            stream_id: the stream's id.
            now: the clock's time, in seconds; what is past its retention is dropped first.

        Raises:
            StreamNotFound: if no stream of that id was seen here, or so long ago that even its
                expiry is forgotten.
            StreamExpired: if it has ended and is no longer kept.
        """
        record = self.find(stream_id, now)
        if record is not None:
            return record
        if stream_id in self._expired:
            raise StreamExpired(stream_id)
        raise StreamNotFound(stream_id)

    def find(self, stream_id: str, now: float) -> StreamRecord | None:
        """Return the record of ``stream_id``, or ``None`` where `get` would raise."""
        self.expire(now)
        record = self._running.get(stream_id)
        if record is None and stream_id in self._ended:
            record = self._ended[stream_id][0]
        return record

    def running(self) -> tuple[str, ...]:
        """Return the ids of the running streams, in the order of their start."""
        return tuple(self._running)

    def is_running(self, stream_id: str) -> bool:
        """Whether the stream of that id runs."""
        return stream_id in self._running

    def ended(self) -> tuple[str, ...]:
        """Return the ids of the ended streams still kept, in the order of their end."""
        return tuple(self._ended)

    def expire(self, now: float) -> list[str]:
        """Drop the streams that ended ``retention`` seconds before ``now`` or earlier.

        The limits in number and bytes hold at all times without this.

        Returns:
            The ids of the streams dropped, in the order of their end.
        """
        dropped: list[str] = []
        while self._ended:
            stream_id, (record, _) = next(iter(self._ended.items()))
            ended_at = record.ended_at
            if ended_at is not None and now - ended_at < self.retention:
                break
            self._drop_oldest()
            dropped.append(stream_id)
        return dropped

    def forbid(self, stream_id: str, now: float) -> None:
        """Remember a cancel for an id that has not started; the next `take_tombstone` finds it.

        At most 10,000 are remembered, the latest. An impossible id is ignored, as it cannot start.

        Args:
            stream_id: the id to come.
            now: the clock's time, in seconds.
        """
        if not _is_id(stream_id):
            return
        self._tombstones[stream_id] = now
        self._tombstones.move_to_end(stream_id)
        self._bury(now)

    def take_tombstone(self, stream_id: str, now: float) -> bool:
        """Return whether ``stream_id`` was forbidden within the time limit; it is allowed then."""
        self._bury(now)
        return self._tombstones.pop(stream_id, None) is not None

    def __len__(self) -> int:
        """Return the number of streams kept, running and ended."""
        return len(self._running) + len(self._ended)

    def __repr__(self) -> str:
        return f"<Shelf: {len(self._running)} running, {len(self._ended)} ended>"

    def _settle(self, record: StreamRecord) -> None:
        self._running.pop(record.id, None)
        size = record.log.size
        self._ended[record.id] = (record, size)
        self._bytes += size
        while len(self._ended) > self.max_ended:
            self._drop_oldest()
        while self._bytes > self.max_bytes and len(self._ended) > 1:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        stream_id, (_, size) = self._ended.popitem(last=False)
        self._bytes -= size
        self._expired[stream_id] = None
        self._expired.move_to_end(stream_id)
        if len(self._expired) > _EXPIRED_REMEMBERED:
            self._expired.popitem(last=False)

    def _forget_ended(self, stream_id: str) -> None:
        kept = self._ended.pop(stream_id, None)
        if kept is not None:
            self._bytes -= kept[1]

    def _bury(self, now: float) -> None:
        while self._tombstones:
            since = next(iter(self._tombstones.values()))
            if now - since < self.tombstone_ttl and len(self._tombstones) <= _MAX_TOMBSTONES:
                break
            self._tombstones.popitem(last=False)


def check_id(stream_id: object) -> str:
    """Return ``stream_id`` if it can be one: printable text of 1 to 200 characters.

    Raises:
        InvalidOption: if it cannot.
    """
    if isinstance(stream_id, str) and _is_id(stream_id):
        return stream_id
    shown = stream_id
    if isinstance(stream_id, str) and len(stream_id) > _MAX_ID_LENGTH:
        shown = f"{stream_id[:40]}… ({len(stream_id)} characters)"
    expected = f"an id is printable text of 1 to {_MAX_ID_LENGTH} characters"
    raise InvalidOption(option="stream_id", value=shown, expected=expected)


def generate_id(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a new stream id: 23 URL-safe characters nobody can guess, a letter first.

    Args:
        random_bytes: where the 128 bits of chance come from.
    """
    # A letter first, because base64 may begin with "-", which command lines take for an option.
    return "s" + base64.urlsafe_b64encode(random_bytes(_ID_BYTES)).rstrip(b"=").decode("ascii")


def topic(stream_id: str) -> str:
    """Return the PubSub topic of a stream: ``puck:stream:<id>``, to be compared as a whole."""
    return f"puck:stream:{stream_id}"


def _is_id(stream_id: object) -> bool:
    return (
        isinstance(stream_id, str)
        and 0 < len(stream_id) <= _MAX_ID_LENGTH
        and stream_id.isprintable()
    )


def _limit(option: str, value: float) -> float:
    given = cast("object", value)
    if isinstance(given, bool) or not isinstance(given, int | float) or math.isnan(given):
        raise InvalidOption(option, value, "give a number")
    if given < 0:
        raise InvalidOption(option, value, "give 0 or more")
    return value
