from __future__ import annotations

import enum
import subprocess
import sys
from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from puckstream.errors import InvalidOption
from puckstream.supervision.key import number_of


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Size(enum.IntEnum):
    SMALL = 3


class Shape(enum.StrEnum):
    ROUND = "round"


def test_an_int_is_its_absolute_value() -> None:
    """S74: rem(abs(key), N)."""
    keys: list[Any] = [0, 7, -7, True, Size.SMALL, 10**30, 4.0]
    assert [number_of(key) for key in keys] == [0, 7, 7, 1, 3, 10**30, 4]


def test_numbers_are_the_same_in_every_process_and_version() -> None:
    """S74: a hash, that all nodes agree on."""
    known: dict[Any, int] = {
        "user-1": 3002233467625545139,
        b"user-1": 17437736682586636415,
        ("user", 1): 15427681705884577818,
        None: 3381895338909225743,
    }
    assert {key: number_of(key) for key in known} == known
    program = (
        "from puckstream.supervision.key import number_of\n"
        "print(number_of(('a', frozenset({'x', 'y', 'z'}), 1.5, b'b', None)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    "key",
    [
        ("a", ("b", 2)),
        frozenset({1, 2, "three"}),
        UUID(int=5),
        Colour.RED,
        2.5,
        float("inf"),
        "\ud800",
        "",
        (),
    ],
)
def test_what_can_be_hashed_alike_everywhere_is_a_key(key: Any) -> None:
    """S74."""
    assert 0 <= number_of(key) < 2**64


def test_equal_keys_have_equal_numbers() -> None:
    """S74: Python's idea of equal, for there 1 == 1.0."""
    assert number_of((1, 2.0)) == number_of((1.0, 2)) == number_of((True, 2))
    assert number_of(Shape.ROUND) == number_of("round")
    assert number_of((Size.SMALL,)) == number_of((3,))
    assert number_of(frozenset((2, 1))) == number_of(frozenset((1, 2)))


def test_different_keys_are_told_apart() -> None:
    """S74."""
    keys: list[Any] = [
        *("1", b"1", ("1",), (("1",),), frozenset({"1"}), Colour.RED, Colour.BLUE, None, "None"),
        *(("a", "b"), ("ab",), ("b", "a"), ("a", ""), ("", "a"), 0.5, "0.5"),
    ]
    assert len({number_of(key) for key in keys}) == len(keys)


def test_keys_are_spread_evenly() -> None:
    """S74."""
    counts = Counter(number_of(f"user-{number}") % 8 for number in range(8000))
    assert len(counts) == 8
    assert all(800 < count < 1200 for count in counts.values())


@pytest.mark.parametrize("key", [object(), [1], ("a", object()), {1: 2}, 1j])
def test_what_hashes_differently_in_each_process_is_refused(key: Any) -> None:
    """S74."""
    with pytest.raises(InvalidOption, match="key"):
        number_of(key)
