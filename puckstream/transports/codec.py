"""Values as msgpack and back: what messages between nodes are made of.

Plain data travels as msgpack has it. What msgpack does not tell apart, or does not know, travels as
an extension type: tuples, sets, actor refs, errors, and the types an application has registered.
Nothing is ever resolved to code: an unknown type is refused, an error of a class that is not
registered becomes a `RemoteError` (docs/nodes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import msgpack as untyped_msgpack  # type: ignore[import-untyped]

from puckstream.errors import BadFrame, NotSendable, RemoteError

# It has no types of its own.
msgpack: Any = untyped_msgpack
Packer: TypeAlias = Any
ExtType: TypeAlias = Any

__all__ = ["MAX_DEPTH", "MAX_ITEMS", "MAX_ODD_KEYS", "Codec", "Extension", "Refs", "UserType"]


class Extension(IntEnum):
    """The codes of the extension types, the same in every version."""

    REF = 1
    TUPLE = 2
    ERROR = 3
    SET = 5
    FROZENSET = 6
    USER = 16


MAX_ITEMS: Final = 65_536
"""How many items an array or a map may have."""

MAX_ODD_KEYS: Final = 1_024
"""How many keys of one map need not be text: unlike those of text, they can be made to collide."""

MAX_DEPTH: Final = 24
"""How deep extension types may be nested: each level of a hostile frame takes 20 KB of stack."""

MAX_MESSAGE: Final = 2_048
"""How many characters of an error's message travel."""


class Refs(Protocol):
    """Turns actor refs into plain data, and back."""

    def pack(self, ref: Any) -> list[Any] | None:
        """Return what names an actor in the whole cluster; None if ``ref`` is no ref."""
        ...

    def unpack(self, data: list[Any]) -> Any:
        """Return the ref of an actor, here or on another node.

        Raises:
            ValueError: if ``data`` names none.
        """
        ...


@dataclass(frozen=True, slots=True)
class UserType:
    """A type of the application that may travel.

    Args:
        name: what it is called on the wire, with its version, e.g. ``"billing.Invoice/2"``; the
            same on all nodes.
        type: exactly this class; its subclasses are others.
        pack: returns plain data that has all of a value.
        unpack: makes a value of that data, which it must not trust.
    """

    name: str
    type: type[Any]
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


class Codec:
    """Packs and unpacks values, in any thread.

    Args:
        refs: how actor refs travel; without it they do not.
        types: the application's types.
        errors: classes of exceptions that come out as themselves: made without their constructor,
            of their arguments and attributes as far as these can travel.
    """

    def __init__(
        self,
        refs: Refs | None = None,
        types: Iterable[UserType] = (),
        errors: Iterable[type[Exception]] = (),
    ) -> None:
        self._refs = refs
        self._by_type: dict[Any, UserType] = {user.type: user for user in types}
        self._by_name = {user.name: user for user in self._by_type.values()}
        self._errors = {_name_of(error): error for error in errors}
        # Packers that are idle, by how deep what they pack is nested in extension types: one packs
        # a single value at a time, and the parts of an extension type are values.
        self._idle: list[list[Packer]] = [[] for _ in range(MAX_DEPTH + 1)]

    def pack(self, value: Any) -> bytes:
        """Return ``value`` as bytes.

        Raises:
            NotSendable: if some part of it cannot travel, or it is nested too deeply.
        """
        return self._pack(value, 0)

    def unpack(self, data: bytes) -> Any:
        """Return the value that ``data`` is.

        Raises:
            BadFrame: if it is none, has too many items in one place, is nested too deeply, or
                has a type that is not registered here.
        """
        return _Reading(self._refs, self._by_name, self._errors).value(data)

    # -- packing

    def _pack(self, value: Any, depth: int) -> bytes:
        idle = self._idle[depth]
        packer = idle.pop() if idle else self._new_packer(depth)
        try:
            packed: bytes = packer.pack(value)
        except NotSendable:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise NotSendable(value, str(error)) from error
        idle.append(packer)
        return packed

    def _new_packer(self, depth: int) -> Packer:
        return msgpack.Packer(default=partial(self._extension_of, depth + 1), strict_types=True)

    def _extension_of(self, depth: int, value: Any) -> ExtType:
        if depth > MAX_DEPTH:
            raise NotSendable(value, f"it is nested more than {MAX_DEPTH} deep")
        kind = type(value)  # pyright: ignore[reportUnknownVariableType]  # of anything
        if kind is tuple:
            return msgpack.ExtType(Extension.TUPLE, self._pack(list(value), depth))
        if kind is set or kind is frozenset:
            code = Extension.SET if kind is set else Extension.FROZENSET
            return msgpack.ExtType(code, self._pack(list(value), depth))
        if kind is int:
            raise NotSendable(value, "it does not fit into 64 bits")
        user = self._by_type.get(kind)
        if user is not None:
            return msgpack.ExtType(Extension.USER, self._pack([user.name, user.pack(value)], depth))
        if isinstance(value, Exception):
            return msgpack.ExtType(Extension.ERROR, self._pack(self._parts_of(value, depth), depth))
        named = None if self._refs is None else self._refs.pack(value)
        if named is None:
            raise NotSendable(value, "its type is not registered")
        return msgpack.ExtType(Extension.REF, self._pack(named, depth))

    def _parts_of(self, error: Exception, depth: int) -> list[Any]:
        name = _name_of(type(error))
        message = str(error)[:MAX_MESSAGE]
        if isinstance(error, RemoteError):
            return [error.type_name, error.message, [], {}]
        if name not in self._errors:
            return [name, message, [], {}]
        arguments = list(error.args)
        if not self._travels(arguments, depth):
            arguments = [message]
        attributes = {
            attribute: value
            for attribute, value in vars(error).items()
            if self._travels(value, depth)
        }
        return [name, message, arguments, attributes]

    def _travels(self, value: Any, depth: int) -> bool:
        try:
            self._pack(value, depth)
        except NotSendable:
            return False
        return True


class _Reading:
    """One value on its way out of bytes."""

    __slots__ = ("_depth", "_errors", "_refs", "_types")

    def __init__(
        self,
        refs: Refs | None,
        types: dict[str, UserType],
        errors: dict[str, type[Exception]],
    ) -> None:
        self._refs = refs
        self._types = types
        self._errors = errors
        self._depth = 0

    def value(self, data: bytes) -> Any:
        try:
            try:
                return self._unpack(data, strict=True)
            except ValueError as error:
                if "strict_map_key" not in str(error):
                    raise
                return self._unpack(data, strict=False)
        except BadFrame:
            raise
        except Exception as error:
            # Which exceptions a hostile frame brings about is not written anywhere.
            raise BadFrame("value", f"{type(error).__name__}: {error}") from error

    def _unpack(self, data: bytes, *, strict: bool) -> Any:
        return msgpack.unpackb(
            data,
            ext_hook=self._extension,
            strict_map_key=strict,
            object_pairs_hook=None if strict else _with_odd_keys,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
        )

    def _extension(self, code: int, data: bytes) -> Any:
        if self._depth == MAX_DEPTH:
            raise BadFrame("depth", f"extension types nested more than {MAX_DEPTH} deep")
        self._depth += 1
        try:
            value = self.value(data)
        finally:
            self._depth -= 1
        match value:
            case [*parts]:
                return self._made_of(code, parts)
            case _:
                raise BadFrame("value", f"extension type {code} of a {type(value).__name__}")

    def _made_of(self, code: int, parts: list[Any]) -> Any:
        match code:
            case Extension.TUPLE:
                return tuple(parts)
            case Extension.SET:
                return set(parts)
            case Extension.FROZENSET:
                return frozenset(parts)
            case Extension.REF if self._refs is not None:
                return self._refs.unpack(parts)
            case Extension.ERROR:
                return self._error(*parts)
            case Extension.USER:
                return self._user(*parts)
            case _:
                raise BadFrame("type", f"unknown extension type {code}")

    def _user(self, name: str, data: Any) -> Any:
        user = self._types.get(name)
        if user is None:
            raise BadFrame("type", f"unknown type {name!r}")
        return user.unpack(data)

    def _error(self, name: str, message: str, arguments: list[Any], attributes: Any) -> Exception:
        kind = self._errors.get(name)
        if kind is None:
            return RemoteError(str(name), str(message))
        error = kind.__new__(kind)
        error.args = tuple(arguments)
        vars(error).update(attributes)
        return error


def _name_of(error: type[Exception]) -> str:
    module = error.__module__
    return error.__qualname__ if module == "builtins" else f"{module}.{error.__qualname__}"


def _with_odd_keys(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    if sum(type(key) not in {str, bytes} for key, _ in pairs) > MAX_ODD_KEYS:
        raise BadFrame("keys", f"a map with more than {MAX_ODD_KEYS} keys that are no text")
    return dict(pairs)
