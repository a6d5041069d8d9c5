"""Any value as JSON can carry it."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

__all__ = ["plain"]


def plain(value: object) -> Any:
    """Return ``value`` as JSON can carry it: dicts with text keys, lists, text, numbers, ``None``.

    Dataclasses, named tuples and objects with ``model_dump()`` (pydantic) become dicts, sets and
    tuples lists, bytes base64 text, numbers JSON has no word for ``None``; anything else ``str``.
    """
    result: Any
    if value is None or isinstance(value, str | int):
        result = value
    elif isinstance(value, float):
        result = value if math.isfinite(value) else None
    elif isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value)
        result = {str(key): plain(item) for key, item in entries.items()}
    elif isinstance(value, bytes | bytearray):
        result = base64.b64encode(value).decode("ascii")
    elif (fields := _fields(value)) is not None:
        result = plain(fields)
    elif isinstance(value, list | tuple | set | frozenset):
        result = [plain(item) for item in cast("Iterable[object]", value)]
    else:
        result = str(value)
    return result


def _fields(value: Any) -> object | None:
    """Return the named fields of an object that has such, else ``None``."""
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    for name in ("_asdict", "model_dump"):
        dump = getattr(value, name, None)
        if callable(dump):
            fields: object = dump()
            return fields
    return None
