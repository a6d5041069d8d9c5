from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from benchmarks import catalogue
from benchmarks.harness import Measured, Outcome
from benchmarks.workload import Subject, Workload, costs, faster, reads

ROOT = Path(__file__).resolve().parents[2]


def outcome(*goals: object, **samples: Iterable[Mapping[str, float]]) -> Outcome:
    subjects = tuple(Subject(name, lambda _size: {}, 1, 1) for name in samples)
    workload = Workload("some", "Some", subjects, goals)  # type: ignore[arg-type]  # of goals
    return Outcome(workload, samples={name: list(each) for name, each in samples.items()})


def only_row(result: Outcome) -> Measured:
    (row,) = result.rows()
    return row


def test_a_value_is_the_median_of_the_rounds_own_ratios() -> None:
    goal = faster("x", ours="a", peer="b", must=3)
    ours = [{"time": 1.0}, {"time": 10.0}, {"time": 2.0}]
    peer = [{"time": 4.0}, {"time": 30.0}, {"time": 10.0}]
    row = only_row(outcome(goal, a=ours, b=peer))
    assert row.values == [4.0, 3.0, 5.0]
    assert row.value == 4.0


@pytest.mark.parametrize(
    ("ours", "reached"), [(1.0, "aim"), (1.25, "must"), (2.0, "MISSED"), (1.1, "aim")]
)
def test_a_row_says_whether_the_aim_the_must_or_neither_is_reached(
    ours: float, reached: str
) -> None:
    goal = costs("x", ours="a", peer="b", must=1.3, aim=1.1)
    assert only_row(outcome(goal, a=[{"time": ours}], b=[{"time": 1.0}])).reached == reached


def test_a_figure_alone_reaches_nothing_when_nothing_is_asked() -> None:
    goal = reads("x", ours="a", figure="memory", unit="KB")
    row = only_row(outcome(goal, a=[{"memory": 0.5}]))
    assert (row.value, row.reached) == (0.5, "")


def test_a_subject_that_could_not_run_leaves_a_remark_in_its_rows() -> None:
    goal = faster("x", ours="a", peer="b", must=3)
    result = outcome(goal, a=[{"time": 1.0}], b=[])
    result.remarks["b"] = "not installed"
    row = only_row(result)
    assert (row.value, row.reached, row.remark) == (None, "not measured", "b: not installed")


def test_every_workload_of_the_catalogue_is_a_file_and_every_file_is_in_it() -> None:
    files = {path.stem for path in (ROOT / "benchmarks" / "workloads").glob("[!_]*.py")}
    assert files == set(catalogue.NAMES)


def test_a_quick_run_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    command = [sys.executable, "-m", "benchmarks", "tell_from_thread", "--quick"]
    said = subprocess.run(
        [*command, "--json", str(target)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "Wt tell from a thread" in said.stdout
    (workload,) = json.loads(target.read_text("utf-8"))["workloads"]
    (row,) = workload["rows"]
    assert row["value"] > 0
    assert workload["remarks"] == {}


def test_a_workload_of_a_wrong_name_is_refused_with_the_names_there_are() -> None:
    command = [sys.executable, "-m", "benchmarks", "no_such_thing"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "no such workload: no_such_thing" in said.stderr
    assert "fan_out" in said.stderr
