"""Lines out of bytes, however these are cut."""

from __future__ import annotations

import pytest

from puckstream.backends.lines import LineDecoder


def lines(*parts: bytes) -> list[bytes]:
    decoder = LineDecoder()
    found = [line for part in parts for line in decoder.feed(part)]
    return [*found, *decoder.flush()]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_end_of_line_ends_a_line_also_when_it_is_cut(end: bytes) -> None:
    whole = end.join([b'{"a": 1}', b'{"b": "\xc3\xa9"}', b""])
    expected = [b'{"a": 1}', b'{"b": "\xc3\xa9"}']
    for cut in range(len(whole)):
        assert lines(whole[:cut], whole[cut:]) == expected


def test_a_line_is_handed_out_as_soon_as_it_ends_and_the_last_at_the_end_of_the_body() -> None:
    decoder = LineDecoder()
    assert decoder.feed(b"a") == []
    assert decoder.feed(b"b") == []
    assert decoder.feed(b"c\nd") == [b"abc"]
    assert decoder.flush() == [b"d"]
    assert decoder.flush() == []


def test_blank_lines_and_a_byte_order_mark_are_none() -> None:
    assert lines(b"\xef\xbb", b"\xbf{}\n\n  \n\r\n{}") == [b"{}", b"{}"]
    assert lines() == lines(b"") == lines(b"\n") == []
