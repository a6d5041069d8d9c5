"""Keys as numbers that are the same in every process.

Python's own ``hash`` of a string differs from one process to the next, so that two nodes would
look for one key in different places.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from enum import Enum
from hashlib import blake2b
from typing import cast
from uuid import UUID

from puckstream.actors.ref import ActorRef
from puckstream.errors import InvalidOption

__all__ = ["number_of"]


def number_of(key: Hashable) -> int:
    """Return a number ≥ 0 for ``key``: an int's absolute value, else a hash of 64 bits.

    Equal keys have equal numbers, ``1`` and ``1.0`` included, and a tuple's depends on its order.
    The number of an actor's ref is the actor's own on its node.

    Raises:
        InvalidOption: if ``key`` is none of int, str, bytes, float, ``None``, enum member, UUID,
            actor ref, tuple and frozenset, or holds something else.
    """
    if isinstance(key, ActorRef):
        return key.id
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    if isinstance(key, int):
        return abs(key)
    return int.from_bytes(blake2b(_bytes_of(key), digest_size=8).digest())


def _bytes_of(key: object) -> bytes:
    """Return bytes that no other key has; the parts of a tuple are told apart by their length."""
    match key:
        # str and int before Enum: the members of some enums are equal to one.
        case str():
            kind, content = b"s", str.__str__(key).encode("utf-8", "surrogatepass")
        case bytes():
            kind, content = b"b", key
        case int():
            kind, content = b"i", b"%d" % key
        case float() if key.is_integer():
            kind, content = b"i", b"%d" % int(key)
        case float() | None:
            kind, content = b"c", repr(key).encode()
        case ActorRef():
            kind, content = b"a", b"%d" % key.id
        case UUID():
            kind, content = b"u", key.bytes
        case Enum():
            kind, content = b"e", f"{type(key).__qualname__}.{key.name}".encode()
        case tuple():
            kind, content = b"t", b"".join(_parts(cast("Iterable[object]", key)))
        case frozenset():
            kind, content = b"z", b"".join(sorted(_parts(cast("Iterable[object]", key))))
        case _:
            expected = (
                "an int, str, bytes, float, None, enum member, UUID, ref, or a tuple of these"
            )
            raise InvalidOption("key", key, expected)
    return kind + content


def _parts(keys: Iterable[object]) -> Iterator[bytes]:
    for key in keys:
        encoded = _bytes_of(key)
        yield b"%d:" % len(encoded) + encoded
