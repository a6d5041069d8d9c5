"""Lines out of bytes: the framing of NDJSON.

Pure: bytes in, lines out. Nothing is decoded here, so a character that is split over two reads
arrives whole.
"""

from __future__ import annotations

__all__ = ["LineDecoder"]

_BOM = b"\xef\xbb\xbf"


class LineDecoder:
    """Turns the bytes of one response, however they are cut, into the lines that are not blank.

    Lines end in LF, CRLF or CR, none of which JSON text may hold unescaped.
    """

    __slots__ = ("_rest", "_started")

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of the line that has not ended yet
        self._started = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes, in order."""
        # A CRLF that is cut in two is two ends of a line, with a blank line between them.
        *lines, rest = data.replace(b"\r", b"\n").split(b"\n")
        if not lines:
            self._rest.append(rest)
            return []
        lines[0] = b"".join((*self._rest, lines[0]))
        self._rest = [rest]
        return self._worth_reading(lines)

    def flush(self) -> list[bytes]:
        """Return the last line if the end of the response left it without its end."""
        last, self._rest = b"".join(self._rest), []
        return self._worth_reading([last])

    def _worth_reading(self, lines: list[bytes]) -> list[bytes]:
        if not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(_BOM)
        return [line for line in lines if line and not line.isspace()]
