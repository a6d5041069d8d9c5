"""Patterns, as plain values (S62)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import pytest

from puckstream.actors.pattern import fits


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (..., None),
        (..., object()),
        (1, 1.0),
        ("a", "a"),
        (None, None),
        ((), ()),
        ((1, ...), (1, 2)),
        ((1, (..., 3)), (1, (2, 3))),
        ([..., 2], [1, 2]),
        ((1, 2), Point(1, 2)),
        (Point(1, 2), (1, 2)),
        ({}, {"a": 1}),
        ({"a": ...}, {"a": 1, "b": 2}),
        ({"a": (..., 1)}, OrderedDict(a=(0, 1))),
        (int, int),
    ],
)
def test_it_fits(pattern: Any, value: Any) -> None:
    assert fits(pattern, value)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (1, 2),
        (None, 0),
        ((1, ...), (1, 2, 3)),
        ((1, ...), [1, 2]),
        ([1, ...], (1, 2)),
        ((...,), "a"),
        ((), ""),
        ((1, (..., 3)), (1, 3)),
        ({"a": ...}, {"b": 1}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, [("a", 1)]),
        ({"a": 1}, None),
        (int, 1),
    ],
)
def test_it_does_not_fit(pattern: Any, value: Any) -> None:
    assert not fits(pattern, value)


def test_what_a_comparison_raises_is_raised() -> None:
    class Touchy:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not to be compared")

        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(RuntimeError, match="not to be compared"):
        fits((1, Touchy()), (1, 2))
