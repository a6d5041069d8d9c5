"""The table and the JSON."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import beam
from benchmarks.harness import Measured, Outcome
from benchmarks.workload import Bound, Goal

__all__ = ["machine", "print_header", "print_outcome", "print_summary", "write_json"]

PACKAGES = ("pykka", "httpx", "openai", "uvloop")
COLUMNS = "{:<54} {:>12} {:>12} {:>10}  {:<17} {:>10} {:>10}  {}"


def machine() -> dict[str, Any]:
    """Return what the figures were measured on and with."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "elixir": beam.version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def print_header(about: dict[str, Any], *, quick: bool) -> None:
    """Print what the table is about."""
    packages = ", ".join(
        f"{name} {version}" for name, version in about["packages"].items() if version
    )
    print(f"Python {about['python']}, {about['system']}, {about['cpus']} CPUs; {packages}")
    print(about["elixir"] or "Elixir is not installed: no rows against the BEAM")
    print("Every value is the median of its rounds; garbage collection is on, Python's thresholds.")
    if quick:
        print("--quick: one round of small sizes, to see that everything runs. No measurement.")
    print()
    print(COLUMNS.format("", "ours", "peer", "ratio", "spread", "must", "aim", "reached").rstrip())


def print_outcome(outcome: Outcome) -> None:
    """Print the rows of one workload."""
    print(f"{outcome.workload.title}  ({outcome.seconds:.0f} s)")
    for row in outcome.rows():
        print(_line(row), flush=True)


def print_summary(outcomes: Sequence[Outcome]) -> None:
    """Print which bounds were missed."""
    rows = [(outcome, row) for outcome in outcomes for row in outcome.rows()]
    bound = [row for _, row in rows if row.goal.must is not None]
    if any(outcome.quick for outcome in outcomes):
        return
    missed = [(o, row) for o, row in rows if row.reached == "MISSED"]
    unmeasured = [(o, row) for o, row in rows if row.value is None and row.goal.must is not None]
    print(f"\n{len(bound)} figures must reach something; {len(missed)} missed it", end="")
    print(f", {len(unmeasured)} were not measured." if unmeasured else ".")
    for outcome, row in missed:
        print(f"  missed: {outcome.workload.title}: {row.goal.label}")


def write_json(path: Path, about: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Write everything that was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"machine": about, "workloads": [_as_json(outcome) for outcome in outcomes]}
    path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _line(row: Measured) -> str:
    goal = row.goal
    label = f"  {goal.label}"
    if row.value is None:
        return f"{label:<54} {row.remark}"
    ours = _number(median(row.ours), goal.unit)
    peer = _number(median(row.peer), goal.unit) if row.peer else ""
    ratio = _value(goal, row.value) if row.peer else ""
    spread = f"{_value(goal, min(row.values))} – {_value(goal, max(row.values))}"
    return COLUMNS.format(
        label,
        ours,
        peer,
        ratio,
        spread if row.peer else "",
        _bound(goal, goal.must),
        _bound(goal, goal.aim),
        row.reached,
    ).rstrip()


def _value(goal: Goal, value: float) -> str:
    return _number(value, goal.unit) if goal.relation == "reads" else f"{_digits(value)}×"


def _number(value: float, unit: str) -> str:
    return f"{_digits(value)}{unit}" if unit.startswith("/") else f"{_digits(value)} {unit}"


def _digits(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _bound(goal: Goal, bound: Bound | None) -> str:
    if bound is None:
        return ""
    if bound.least is not None:
        return f"≥ {_value(goal, bound.least)}"
    assert bound.most is not None
    return f"≤ {_value(goal, bound.most)}"


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.workload.name,
        "title": outcome.workload.title,
        "seconds": round(outcome.seconds, 1),
        "remarks": outcome.remarks,
        "rows": [
            {
                "label": row.goal.label,
                "relation": row.goal.relation,
                "unit": row.goal.unit,
                "value": row.value,
                "values": row.values,
                "ours": row.ours,
                "peer": row.peer,
                "must": _bound(row.goal, row.goal.must) or None,
                "aim": _bound(row.goal, row.goal.aim) or None,
                "reached": row.reached,
                "remark": row.remark or None,
            }
            for row in outcome.rows()
        ],
        "samples": outcome.samples,
    }
