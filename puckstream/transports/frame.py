"""One frame between two nodes: eight bytes of header, then one msgpack array.

::

    'P' 'K' | version u8 | kind u8 | link sequence u32, big-endian | body

The sequence numbers the frames of one link, from 1. A frame whose kind is 0x80 or above may be
ignored by whoever does not know it; bodies grow at their tail only (docs/nodes.md).
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from types import MappingProxyType
from typing import Final, NamedTuple

from puckstream.errors import BadFrame, FrameTooLarge

__all__ = ["HEADER_SIZE", "LIMITS", "MAX_FRAME", "VERSION", "Frame", "Kind", "decode", "encode"]

VERSION: Final = 1
"""The version of the protocol; every version from `OLDEST` on is understood."""

MAX_FRAME: Final = 1 << 20
"""Bytes of the largest frame."""

_HEADER: Final = Struct(">2sBBI")
_MAGIC: Final = b"PK"
HEADER_SIZE: Final = _HEADER.size
_IGNORABLE: Final = 0x80
_SMALL: Final = 64 << 10


class Kind(IntEnum):
    """What a frame is about."""

    HELLO = 0x01
    WELCOME = 0x02
    HEARTBEAT = 0x03
    BYE = 0x04
    CAST = 0x10
    CALL = 0x11
    REPLY = 0x12
    RECEIPT = 0x13
    MONITOR = 0x20
    DEMONITOR = 0x21
    DOWN = 0x22
    LINK = 0x23
    EXIT = 0x24
    UNLINK = 0x25
    SUBSCRIBE = 0x30
    SUBSCRIBED = 0x31
    UNSUBSCRIBE = 0x32
    EVENT = 0x33
    EVENTS = 0x34
    EXPIRED = 0x35
    END = 0x36
    CANCEL = 0x40
    CANCELLED = 0x41
    CLAIM = 0x50
    GRANT = 0x51
    DENY = 0x52
    RELEASE = 0x53
    REGISTRY = 0x54


LIMITS: Final = MappingProxyType(
    {
        Kind.HELLO: 4 << 10,
        Kind.WELCOME: 4 << 10,
        Kind.HEARTBEAT: 256,
        Kind.BYE: 1 << 10,
        **dict.fromkeys((Kind.CAST, Kind.CALL, Kind.REPLY, Kind.EVENT, Kind.EVENTS), MAX_FRAME),
        Kind.REGISTRY: MAX_FRAME,
    }
)
"""The largest frame of each kind, header included, in bytes; 64 KiB for those left out.

Checked before a byte of the body is looked at: a decoded body may take sixty times its size.
"""


class Frame(NamedTuple):
    """A frame that has been received."""

    kind: int
    seq: int
    body: bytes

    @property
    def ignorable(self) -> bool:
        """Whether a node that does not know the kind goes on without it."""
        return self.kind >= _IGNORABLE


def encode(kind: Kind, seq: int, body: bytes) -> bytes:
    """Return the frame of a body.

    Args:
        seq: its number on the link, from 1 to 2**32 - 1.

    Raises:
        FrameTooLarge: if it would be larger than frames of this kind may be.
    """
    size = HEADER_SIZE + len(body)
    limit = LIMITS.get(kind, _SMALL)
    if size > limit:
        raise FrameTooLarge(kind.name, size, limit)
    return _HEADER.pack(_MAGIC, VERSION, kind, seq) + body


def decode(data: bytes) -> Frame:
    """Return the frame that ``data`` is.

    Raises:
        BadFrame: if it is none, of another version, of an unknown kind that may not be ignored,
            or too large for its kind. The body has not been looked at.
    """
    if len(data) < HEADER_SIZE:
        raise BadFrame("short", f"{len(data)} bytes")
    magic, version, kind, seq = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise BadFrame("magic", repr(magic))
    if version != VERSION and kind != Kind.HELLO:
        # Greetings are the same in every version: they find out which one the nodes share.
        raise BadFrame("version", str(version))
    if kind not in _KINDS and kind < _IGNORABLE:
        raise BadFrame("kind", f"0x{kind:02x}")
    if len(data) > LIMITS.get(kind, _SMALL):
        raise BadFrame("size", f"{len(data)} bytes of kind 0x{kind:02x}")
    return Frame(kind, seq, data[HEADER_SIZE:])


_KINDS: Final = frozenset(int(kind) for kind in Kind)
