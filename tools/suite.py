"""How pytest is started: on every core, unless a test or a file is chosen."""

from __future__ import annotations

import os

__all__ = ["arguments_for", "cores"]

MOST = 8
"""Each process collects the whole suite, and a container may show more cores than it may use."""

DECIDED = ("-n", "--numprocesses", "--dist", "--pdb", "--collect-only", "--co", "-h", "--help")
"""Options, or their beginnings, of those who say themselves how the tests are run."""


def arguments_for(chosen: list[str]) -> list[str]:
    """Return the arguments of pytest: ``chosen``, spread over the cores if that is of use.

    It is not for single tests and files, and not on one core; ``-n0`` says so for the rest.
    """
    places = [argument for argument in chosen if not argument.startswith("-")]
    single = any(place.endswith(".py") or "::" in place for place in places)
    if single or cores() == 1 or any(argument.startswith(DECIDED) for argument in chosen):
        return chosen
    # Each process goes through one part in order, and helps the others when it is done.
    return [f"-n{cores()}", "--dist=worksteal", *chosen]


def cores() -> int:
    """Return on how many cores the tests are run."""
    usable = getattr(os, "sched_getaffinity", None)  # not on every system
    found = os.cpu_count() if usable is None else len(usable(0))
    return min(found or 1, MOST)
