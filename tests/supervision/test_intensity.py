"""Restart intensity, against the rule and against a naive model of it."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given, strategies as st

from puckstream.supervision.intensity import add_restart, restarts_within


def verdicts(times: list[float], intensity: int, period: float) -> list[bool]:
    restarts: tuple[float, ...] = ()
    answers: list[bool] = []
    for now in times:
        restarts, allowed = add_restart(restarts, now, intensity, period)
        answers.append(allowed)
    return answers


@pytest.mark.parametrize(
    ("times", "intensity", "period", "expected"),
    [
        ([0.0], 0, 5.0, [False]),
        ([0.0], 1, 5.0, [True]),
        ([0.0, 1.0], 1, 5.0, [True, False]),
        ([0.0, 0.0, 0.0, 0.0], 3, 5.0, [True, True, True, False]),
        ([0.0, 5.0], 1, 5.0, [True, False]),
        ([0.0, 6.0], 1, 5.0, [True, True]),
        ([0.0, 3.0, 6.0, 7.0], 2, 5.0, [True, True, True, False]),
        ([0.0, 0.5, 1.0], 2, 0.25, [True, True, True]),
    ],
)
def test_more_than_intensity_attempts_inside_the_period_are_one_too_many(
    times: list[float], intensity: int, period: float, expected: list[bool]
) -> None:
    """S19: a restart exactly ``period`` old still counts; intensity 0 allows none."""
    assert verdicts(times, intensity, period) == expected


@given(
    st.lists(st.floats(0.0, 4.0, allow_nan=False), max_size=40),
    st.integers(0, 6),
    st.sampled_from([0.5, 1.0, 2.5, 5.0]),
)
def test_it_decides_like_a_model_that_forgets_nothing(
    pauses: list[float], intensity: int, period: float
) -> None:
    """S19: dropping old times never changes an answer."""
    times = list(accumulate(pauses))
    model = [
        sum(earlier >= now - period for earlier in times[: position + 1]) <= intensity
        for position, now in enumerate(times)
    ]
    assert verdicts(times, intensity, period) == model


def test_the_times_kept_never_outnumber_what_the_answer_needs() -> None:
    """S19: a child that crashes for ever costs no memory."""
    restarts: tuple[float, ...] = ()
    for now in range(100):
        restarts, _ = add_restart(restarts, float(now), 3, 1000.0)
        assert len(restarts) <= 4
    assert restarts == (96.0, 97.0, 98.0, 99.0)


@pytest.mark.parametrize(("now", "expected"), [(3.0, 3), (6.0, 3), (6.5, 2), (9.0, 0)])
def test_restarts_in_the_window_are_those_that_still_count(now: float, expected: int) -> None:
    """S19: the window slides with the clock."""
    assert restarts_within((1.0, 2.0, 3.0), now, 5.0) == expected
