from __future__ import annotations

import json
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from puckstream.backends.base import Chunk, Usage
from puckstream.streams.plain import plain


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: tuple[int, ...]


class Pair(NamedTuple):
    left: Any
    right: Any


class Model:
    """Stands for a pydantic model."""

    def model_dump(self) -> dict[str, Any]:
        return {"name": "Ada", "born": Point(1815, (12, 10))}


class Opaque:
    def __str__(self) -> str:
        return "opaque!"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2.5, 2.5),
        ("é", "é"),
        (math.nan, None),
        (-math.inf, None),
        (b"\x00\xff", "AP8="),
        ((1, [2, {3}]), [1, [2, [3]]]),
        ({1: {"a": (2,)}}, {"1": {"a": [2]}}),
        (MappingProxyType({"k": 1}), {"k": 1}),
        (Point(1, (2, 3)), {"x": 1, "y": [2, 3]}),
        (Pair(1, Pair(2, None)), {"left": 1, "right": {"left": 2, "right": None}}),
        (Usage(1, 2), {"input": 1, "output": 2, "thinking": None, "estimated": False}),
        (Chunk("content", "x"), {"type": "content", "content": "x", "metadata": {}}),
        (Model(), {"name": "Ada", "born": {"x": 1815, "y": [12, 10]}}),
        (Opaque(), "opaque!"),
        (Point, str(Point)),
    ],
)
def test_any_value_becomes_what_json_can_carry(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == expected
