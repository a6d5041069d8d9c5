from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from puckstream.errors import InvalidOption
from puckstream.streams.policy import Timeout


def test_no_clock_runs_by_default() -> None:
    assert Timeout() == Timeout(first=None, idle=None, total=None)
    assert Timeout().total is None


def test_seconds_are_kept_as_floats() -> None:
    timeout = Timeout(first=30, idle=15.5, total=600)
    assert (timeout.first, timeout.idle, timeout.total) == (30.0, 15.5, 600.0)
    assert all(isinstance(value, float) for value in dataclasses.astuple(timeout))


@pytest.mark.parametrize("clock", ["first", "idle", "total"])
@pytest.mark.parametrize("value", [0, -1, -0.5, math.inf, math.nan, 10**400, True, "30", [1]])
def test_a_clock_that_cannot_run_is_refused_by_name_and_value(clock: str, value: Any) -> None:
    with pytest.raises(InvalidOption) as refused:
        Timeout(**{clock: value})
    assert refused.value.option == f"timeout.{clock}"
    assert refused.value.value is value


def test_a_plain_number_means_the_total() -> None:
    assert Timeout.of(30) == Timeout(total=30.0)
    assert Timeout.of(0.5) == Timeout(total=0.5)


def test_none_means_no_limit_and_a_timeout_stays_itself() -> None:
    timeout = Timeout(idle=3)
    assert Timeout.of(None) == Timeout()
    assert Timeout.of(timeout) is timeout


@pytest.mark.parametrize("value", [0, -3, math.inf, False, "soon", (1, 2, 3)])
def test_anything_else_is_no_timeout(value: Any) -> None:
    with pytest.raises(InvalidOption, match="timeout="):
        Timeout.of(value)


def test_a_timeout_cannot_be_changed_nor_given_by_position() -> None:
    timeout: Any = Timeout(total=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        timeout.total = 4.0
    make: Any = Timeout
    with pytest.raises(TypeError):
        make(3)
