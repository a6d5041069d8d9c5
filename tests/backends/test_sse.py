"""Server-sent events as the HTML Standard reads them, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from puckstream.backends.sse import SseDecoder, SseEvent


def decoded(*reads: bytes) -> list[SseEvent]:
    decoder = SseDecoder()
    return [event for data in reads for event in decoder.feed(data)]


def texts(*reads: bytes) -> list[str]:
    return [event.data.decode() for event in decoded(*reads)]


def test_an_event_of_megabytes_is_read_in_time_that_grows_with_its_size() -> None:
    """Counted: while no line ends, nothing is joined or searched but the new bytes."""
    decoder, data = SseDecoder(), b"data: " + b"x" * 100_000
    parts = [data[start : start + 100] for start in range(0, len(data), 100)]
    assert [event for part in parts for event in decoder.feed(part)] == []
    assert len(decoder._rest) == len(parts)
    assert decoder.feed(b"\n\n") == [SseEvent(data[6:])]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line_ends_in_lf_crlf_or_cr(end: bytes) -> None:
    stream = b"data: one\n\ndata: two\ndata: three\n\n: note\n\ndata: four\n\n"
    assert texts(stream.replace(b"\n", end)) == ["one", "two\nthree", "four"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_cut_of_the_bytes_gives_the_same_events(end: bytes) -> None:
    stream = "\ufeffevent: a\ndata: é→😀\n\n\n: c\ndata:x\ndata:  y\nid: 1\n\ndata\n\nretry: 3\n\n"
    data = stream.encode().replace(b"\n", end)
    whole = decoded(data)
    assert whole == [
        SseEvent("é→😀".encode(), "a"),
        SseEvent(b"x\n y"),
        SseEvent(b""),
    ]
    for cut in range(len(data) + 1):
        assert decoded(data[:cut], data[cut:]) == whole
    assert decoded(*(data[at : at + 1] for at in range(len(data)))) == whole


@given(strategies.lists(strategies.sampled_from([b"\n", b"\r", b"data: a", b":", b"\r\n", b"x"])))
def test_any_mixture_of_line_ends_reads_the_same_in_one_piece_and_in_many(
    parts: list[bytes],
) -> None:
    assert decoded(*parts) == decoded(b"".join(parts))


def test_one_space_after_the_colon_is_dropped_and_no_more() -> None:
    assert texts(b"data:  two\n\n", b"data:none\n\n") == [" two", "none"]


def test_an_event_without_data_is_none_and_its_name_is_forgotten() -> None:
    assert decoded(b"event: ping\n\ndata: x\n\n") == [SseEvent(b"x", "message")]


def test_comments_ids_retries_and_unknown_fields_are_skipped() -> None:
    assert texts(b": hello\nid: 7\nretry: 10\ncolour: blue\ndata: x\n\n") == ["x"]


def test_a_byte_order_mark_is_skipped_at_the_start_only() -> None:
    assert texts(b"\xef", b"\xbb", b"\xbfdata: x\n\n") == ["x"]
    assert texts(b"data: a\n\n", b"\xef\xbb\xbfdata: b\n\n") == ["a"]


def test_the_end_of_the_response_completes_the_last_event() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: x\n\ndata: [DONE]\n") == [SseEvent(b"x")]
    assert decoder.flush() == [SseEvent(b"[DONE]")]
    assert decoder.flush() == []
