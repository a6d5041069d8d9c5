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
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value).items()
        return {str(key): plain(item) for key, item in entries}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(cast("Any", value)._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in cast("Iterable[object]", value)]
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode("ascii")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return plain(dump())
    return str(value)
