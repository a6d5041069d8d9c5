"""A decoder of two parts stops where the answer does, and says so of what is cut in two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from puckstream.backends.base import Chunk
from puckstream.backends.decoder import Framed
from puckstream.backends.failure import cut_short, unreadable
from puckstream.backends.lines import LineDecoder
from puckstream.errors import StreamError


class Words:
    """``end`` ends an answer; ``?`` cannot be read; ``!`` is an error."""

    done = False

    def decode(self, line: bytes) -> Iterator[Chunk]:
        if line == b"end":
            self.done = True
        elif line == b"?":
            raise unreadable(line, ValueError("no word"))
        elif line == b"!":
            raise StreamError("overloaded", "full")
        else:
            yield Chunk("content", line.decode())

    def finish(self) -> Chunk:
        if not self.done:
            raise cut_short("no end", begun=True)
        return Chunk("finish")


def told(*parts: bytes) -> list[str]:
    decoder, got = Framed(LineDecoder(), Words()), list[str]()
    try:
        for part in parts:
            got += [chunk.content for chunk in decoder.feed(part)]
        got += [chunk.type for chunk in decoder.end()]
    except StreamError as error:
        got.append(error.kind)
    return got


def test_what_follows_the_end_of_an_answer_is_ignored() -> None:
    assert told(b"a\nend\nb\n?\n") == told(b"a\nend\n", b"b\n?\n") == ["a", "finish"]


def test_chunks_before_an_error_in_the_same_bytes_come_first() -> None:
    decoder, got = Framed(LineDecoder(), Words()), list[str]()
    with pytest.raises(StreamError, match="cannot read"):
        got.extend(chunk.content for chunk in decoder.feed(b"a\nb\n?\nc\n"))
    assert got == ["a", "b"]


def test_a_last_event_that_the_end_of_the_body_cut_is_a_broken_connection() -> None:
    assert told(b"a\n?") == ["a", "connection"]
    assert told(b"a\n?\n") == ["parse"]
    assert told(b"a\n!") == ["a", "overloaded"]
    assert told(b"a\nend") == ["a", "finish"]
