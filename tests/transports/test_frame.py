"""Frames: their bytes are the same for ever, and what is no frame is refused unread."""

from __future__ import annotations

import pytest

from puckstream.errors import BadFrame, FrameTooLarge
from puckstream.transports.frame import HEADER_SIZE, LIMITS, MAX_FRAME, Frame, Kind, decode, encode

GOLDEN = {
    (Kind.HELLO, 1, b"\x90"): "504b01010000000190",
    (Kind.HEARTBEAT, 2, b""): "504b010300000002",
    (Kind.CAST, 0xFFFF_FFFF, b"\x93"): "504b0110ffffffff93",
    (Kind.EVENT, 65_536, b"\xc0"): "504b013300010000c0",
}


@pytest.mark.parametrize(("parts", "golden"), GOLDEN.items())
def test_the_bytes_of_version_1_never_change(parts: tuple[Kind, int, bytes], golden: str) -> None:
    data = encode(*parts)
    assert data.hex() == golden
    assert decode(data) == Frame(*parts)


def test_the_numbers_of_the_kinds_never_change() -> None:
    numbers = "01 02 03 04 10 11 12 13 20 21 22 23 24 25 30 31 32 33 34 35 36 40 41 50 51 52 53 54"
    assert " ".join(f"{kind:02x}" for kind in Kind) == numbers


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "short"),
        (b"PK\x01\x10\x00\x00\x00", "short"),
        (b"HT\x01\x10\x00\x00\x00\x01", "magic"),
        (b"PK\x02\x10\x00\x00\x00\x01", "version"),
        (b"PK\x01\x00\x00\x00\x00\x01", "kind"),
        (b"PK\x01\x7f\x00\x00\x00\x01", "kind"),
        (encode(Kind.HEARTBEAT, 1, b"") + b"x" * 256, "size"),
        (encode(Kind.SUBSCRIBE, 1, b"") + b"x" * (64 << 10), "size"),
        (encode(Kind.CAST, 1, b"") + b"x" * MAX_FRAME, "size"),
    ],
)
def test_what_is_no_frame_is_refused_with_a_word_that_says_why(data: bytes, why: str) -> None:
    with pytest.raises(BadFrame) as caught:
        decode(data)
    assert caught.value.why == why


def test_greetings_are_frames_in_every_version() -> None:
    assert decode(b"PK\x07\x01\x00\x00\x00\x01\x90") == Frame(Kind.HELLO, 1, b"\x90")


def test_a_kind_of_a_later_version_that_may_be_ignored_is_a_frame() -> None:
    frame = decode(b"PK\x01\x80\x00\x00\x00\x07new")
    assert frame == Frame(0x80, 7, b"new")
    assert frame.ignorable
    assert not decode(encode(Kind.CAST, 1, b"")).ignorable


@pytest.mark.parametrize("kind", Kind)
def test_the_largest_frame_of_a_kind_travels_and_one_byte_more_does_not(kind: Kind) -> None:
    room = LIMITS.get(kind, 64 << 10) - HEADER_SIZE
    assert len(decode(encode(kind, 1, b"x" * room)).body) == room
    with pytest.raises(FrameTooLarge, match=rf"a {kind.name} may have") as caught:
        encode(kind, 1, b"x" * (room + 1))
    assert (caught.value.size, caught.value.limit) == (room + 9, room + 8)
