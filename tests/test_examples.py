"""The examples run as they stand, and say what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TIME_LIMIT = 40.0  # seconds

SAYS = {
    "actors_start_streams.py": ["Why is the sky blue? -> done", "Why is the sea salt? -> done"],
    "follow_and_cancel.py": [
        "cancel: cancelled",
        "cancel again: already_cancelled",
        "early: cancelled after",
        "late: cancelled after",
        "tail: cancelled after 0 words",
    ],
    "function_streams.py": ["countdown '3 2 1 '", "[scripted:story]", "error so far so good"],
    "openai_sdk_against_model.py": [],
    "supervised_children.py": [
        "balance: 5",
        "the asker learns of it: no such order: 'nonsense'",
        "the ledger ended: crash: ValueError",
        "restarted 1×",
        "balance: 1",
    ],
    "tasks.py": [
        "awaited: 9 words",
        "too slow: cancelled, and 0 tasks are left",
        "in order: moon 12, sky 9, sea 9",
        "by message: 12 words, then normal",
        "retried: sent at attempt 3",
        "spread: True",
    ],
}


def test_every_example_is_run_here() -> None:
    """An example nobody runs is a claim nobody checks."""
    assert {path.name for path in EXAMPLES.glob("*.py")} <= SAYS.keys()


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_the_example_runs_and_says_what_it_promises(example: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example)],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [text for text in SAYS[example] if text not in done.stdout] == [], done.stdout
