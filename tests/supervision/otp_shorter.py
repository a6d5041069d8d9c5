"""A failed play made shorter: what the failure does not need is left out, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.supervision.otp_model import Ambiguous
from tests.supervision.otp_play import Batches, Play
from tests.supervision.otp_spec import Spec

__all__ = ["outcome_of", "shortened"]

SHORTENINGS = 400


async def outcome_of(spec: Spec, recorded: Batches) -> str | None:
    """Play what was recorded; return how it diverged, or None."""
    try:
        await Play(spec).run(lambda _model: recorded)
    except Ambiguous:
        return None
    except Exception as error:  # noqa: BLE001  # a shortened play may fail in any way
        return f"{type(error).__name__}: {error}"
    return None


async def shortened(spec: Spec, recorded: Batches) -> tuple[Spec, Batches]:
    """Leave out what the failure does not need, a piece at a time."""
    tries = SHORTENINGS
    again = True
    while again and tries:
        again = False
        for less_spec, less in smaller(spec, recorded):
            tries -= 1
            if tries <= 0:
                break
            if await outcome_of(less_spec, less) is not None:
                spec, recorded, again = less_spec, less, True
                break
    return spec, recorded


def smaller(spec: Spec, recorded: Batches) -> Iterator[tuple[Spec, Batches]]:
    half = len(recorded) // 2
    if half > 2:
        yield spec, recorded[half:]
        yield spec, recorded[:half]
    for at in reversed(range(len(recorded))):
        yield spec, recorded[:at] + recorded[at + 1 :]
    for less in smaller_specs(spec):
        yield less, recorded
    for at, batch in enumerate(recorded):
        for op in range(len(batch) if len(batch) > 1 else 0):
            yield spec, [*recorded[:at], batch[:op] + batch[op + 1 :], *recorded[at + 1 :]]


def smaller_specs(spec: Spec) -> Iterator[Spec]:
    plain: dict[str, Any] = {
        "backoff": None,
        "linger": 0.0,
        "traps": False,
        "start": "class",
        "shutdown": 5.0,
        "classify": False,
        "restart": "permanent",
    }
    for at, child in enumerate(spec.children):
        before, after = spec.children[:at], spec.children[at + 1 :]
        yield replace(spec, children=before + after)
        for less in smaller_specs(child):
            yield replace(spec, children=(*before, less, *after))
    for option, value in plain.items():
        if getattr(spec, option) != value and not (option == "restart" and spec.significant):
            yield replace(spec, **{option: value})
