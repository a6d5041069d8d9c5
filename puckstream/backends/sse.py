"""Server-sent events out of bytes, as the HTML Standard ("Server-sent events") reads them.

Pure: bytes in, events out. It splits no more often than it must and decodes nothing that JSON
decodes again, because it runs for every token of every stream.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SseDecoder", "SseEvent"]

_BOM = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):
    """One event: its data, as UTF-8 bytes, and its name (``message`` if it has none)."""

    data: bytes
    name: str = "message"


class SseDecoder:
    """Turns the bytes of one response, however they are cut, into events.

    Lines end in CRLF, LF or CR; a leading byte order mark, comments, ``id``, ``retry`` and
    unknown fields are skipped; several ``data`` lines are joined by LF; an event without data is
    none. A character that is split over two reads arrives whole.
    """

    __slots__ = ("_after_cr", "_rest", "_started")

    def __init__(self) -> None:
        # Of an event whose blank line has not come yet; lines end in LF. In parts, so that an event
        # of megabytes, such as an image, is not copied and searched again by every read.
        self._rest: list[bytes] = []
        self._after_cr = False
        self._started = False

    def feed(self, data: bytes) -> list[SseEvent]:
        """Return the events that ``data`` completes, in order."""
        if not self._started:
            data = self._without_bom(data)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            # A CR at the end of a read ends its line now; the LF that may follow is dropped.
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._rest.append(data)
        if b"\n" not in data:
            return []
        *blocks, rest = b"".join(self._rest).split(b"\n\n")
        self._rest = [rest]
        events: list[SseEvent] = []
        for block in blocks:
            # Nearly every event of a model server is one line of data.
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append(SseEvent(block[6:]))
            else:
                _read_block(block, events)
        return events

    def flush(self) -> list[SseEvent]:
        """Return the event that the end of the response left without its blank line, if any.

        The standard drops it; model servers that forget the blank line after their last event
        are common enough to read it.
        """
        events: list[SseEvent] = []
        _read_block(b"".join(self._rest), events)
        self._rest = []
        return events

    def _without_bom(self, data: bytes) -> bytes:
        data, self._rest = b"".join((*self._rest, data)), []
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._rest = [data]
            return b""
        self._started = True
        return data.removeprefix(_BOM)


def _read_block(block: bytes, events: list[SseEvent]) -> None:
    """Add the event that the lines before one blank line make, if they make one."""
    name = ""
    lines: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ").decode("utf-8", "replace")
    if lines:
        events.append(SseEvent(b"\n".join(lines), name or "message"))
