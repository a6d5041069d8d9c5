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
    "conversation.py": [
        "joined at 2 turns",
        "stopped: user",
        "turns from 3 on are void",
        "after the retry: 4 turns",
        "closed with ['user', 'assistant', 'user', 'assistant']",
    ],
    "flask_view.py": [
        "stream already_done",
        "282 words, in whole sentences: True",
        "left after some words: True",
        "stream cancelled",
    ],
    "follow_and_cancel.py": [
        "cancel: cancelled",
        "cancel again: already_cancelled",
        "early: cancelled after",
        "late: cancelled after",
        "tail: cancelled after 0 words",
    ],
    "function_calls_two_models.py": [
        "handler: ",
        "by a function, then done",
        "said '[282 words drafted] Shorter, please.'",
        "cancel: cancelled",
    ],
    "function_streams.py": ["countdown '3 2 1 '", "[scripted:story]", "error so far so good"],
    "look_inside.py": [
        "put aside: 1",
        "taken up: 1",
        "bread, baked",
        "suspended: 1 waits, the oven is hot: True",
        "cake, baked",
        "out cake, baked",
    ],
    "openai_sdk_against_model.py": [],
    "retry_and_fallback.py": [
        "attempt 3 is cloud's",
        "attempt 4 is cellar's",
        "gave up: overloaded",
        "line: queued",
        "refused: the client is at its limit of 1 streams",
    ],
    "rooms.py": [
        "2 in the kitchen",
        "Ada heard ['good morning']",
        "leave kitchen: 1",
        "a new Bob heard []",
        "join kitchen: 1",
        "minutes: 10 lines",
    ],
    "provider_of_ones_own.py": [
        "near: Quiet as a stone. (4 tokens)",
        "harbour: The lamp is lit ✓ (5 tokens)",
        "kept: 12 checks",
    ],
    "supervised_children.py": [
        "balance: 5",
        "the asker learns of it: no such order: 'nonsense'",
        "the ledger ended: crash: ValueError",
        "restarted 1×",
        "balance: 1",
    ],
    "supervision_strategies.py": [
        "one_for_one: started anew: second\n",
        "one_for_all: started anew: first, second, third\n",
        "rest_for_one: started anew: second, third\n",
        "one_for_one ended: shutdown",
        "and is running again, restarted 1×",
    ],
    "tasks.py": [
        "awaited: 9 words",
        "too slow: cancelled, and 0 tasks are left",
        "in order: moon 12, sky 9, sea 9",
        "by message: 12 words, then normal",
        "retried: sent at attempt 3",
        "spread: True",
    ],
    "terminal_chat.py": ["[282 tokens]", "2 turns in the context"],
}


def test_every_example_is_run_here() -> None:
    """An example nobody runs is a claim nobody checks."""
    assert {path.name for path in EXAMPLES.glob("*.py")} <= SAYS.keys()


TYPED = {"terminal_chat.py": "Good evening.\n"}
"""What somebody types into an example."""


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_the_example_runs_and_says_what_it_promises(example: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example)],
        input=TYPED.get(example, ""),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [text for text in SAYS[example] if text not in done.stdout] == [], done.stdout
