"""Elixir as a subject, where it is installed; nothing here installs it.

A turn is ``elixir beam.exs WORKLOAD SIZE``: a fresh BEAM that does the work once to warm up, then
measures it and prints its figures.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.workload import Sample, Subject

__all__ = ["absent", "elixir", "version"]

SCRIPT = Path(__file__).with_name("beam.exs")


def absent() -> str | None:
    """Return why Elixir cannot run here, or None."""
    return None if shutil.which("elixir") else "not installed (no 'elixir' on PATH)"


def version() -> str | None:
    """Return the version of Elixir and OTP."""
    if absent() is not None:
        return None
    code = 'IO.puts("Elixir #{System.version()}, OTP #{System.otp_release()}")'
    said = subprocess.run(["elixir", "-e", code], capture_output=True, text=True, check=False)
    return said.stdout.strip() or None


def elixir(workload: str, size: int, quick: int, name: str = "Elixir") -> Subject:
    """Return the subject that runs ``workload`` of the script."""
    return Subject(name, _turn_of(workload), size, quick, absent)


def _turn_of(workload: str) -> Callable[[int], Sample]:
    def turn(size: int) -> Sample:
        command = ["elixir", str(SCRIPT), workload, str(size)]
        said = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=50.0,
        )
        if said.returncode:
            raise RuntimeError(said.stderr.strip()[-500:])
        sample: Sample = json.loads(said.stderr.splitlines()[-1])
        return sample

    return turn
