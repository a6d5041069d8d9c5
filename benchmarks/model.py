"""The scripted model in a process of its own, so that its CPU time is not counted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["REQUEST", "model", "words"]

REQUEST = {
    "model": "bench",
    "messages": [{"role": "user", "content": "Go on."}],
    "stream": True,
}


def words(count: int) -> str:
    """Return a text of ``count`` tokens."""
    return "word " * (count - 1) + "end."


@contextmanager
def model(*options: str) -> Generator[str]:
    """Start ``puckstream model`` with ``options``; the value is its ``base_url``."""
    command = [sys.executable, "-m", "puckstream.cli.model", "--json", "--quiet"]
    process = subprocess.Popen(
        [*command, "--until-stdin-closes", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield str(json.loads(process.stdout.readline())["url"])
    finally:
        process.stdin.close()  # which ends it
        process.stdout.close()
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
