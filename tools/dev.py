"""The commands of ``./dev``; ``./dev help`` lists them.

Every command names the groups of packages it needs. ``environment`` installs what is missing into
``.venv`` on first use; after that a command starts at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tools import lock, suite
from tools.environment import Environment
from tools.installer import SetupFailed

__all__ = ["COMMANDS", "main"]

ROOT = Path(__file__).resolve().parent.parent

Arguments = list[str]
Command = Callable[[Environment, Arguments], int]


def main(argv: Arguments) -> int:
    """Run one command of ``./dev`` and return its exit status."""
    name = argv[0] if argv else "help"
    if name in {"help", "-h", "--help"}:
        print(usage())
        return 0
    if name not in COMMANDS:
        print(f"dev: there is no command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    command, groups, _ = COMMANDS[name]
    environment = Environment(ROOT)
    try:
        environment.ensure(groups)
        return command(environment, argv[1:])
    except SetupFailed as failure:
        print(f"dev: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def usage() -> str:
    """Return the list of commands."""
    lines = ["usage: ./dev COMMAND [ARGUMENTS]", ""]
    lines += [f"  {name:<12} {summary}" for name, (_, _, summary) in COMMANDS.items()]
    return "\n".join(lines)


def puckstream(*command: str) -> Command:
    """Return the command that becomes ``puckstream …``: signals and exit status are its own."""

    def run(environment: Environment, arguments: Arguments) -> NoReturn:
        become(environment, ["-m", "puckstream", *command, *arguments])

    return run


def module(*command: str) -> Command:
    """Return the command that becomes ``python -m …`` with the user's arguments behind."""

    def run(environment: Environment, arguments: Arguments) -> NoReturn:
        become(environment, ["-m", *command, *arguments])

    return run


def python(environment: Environment, arguments: Arguments) -> int:
    """Become the environment's Python."""
    become(environment, arguments)


def test(environment: Environment, arguments: Arguments) -> NoReturn:
    """Become pytest."""
    become(environment, ["-m", "pytest", *suite.arguments_for(arguments)])


def setup(environment: Environment, arguments: Arguments) -> int:
    """Install the groups that are named, or every group."""
    environment.ensure(tuple(arguments) or environment.groups())
    print(f"{environment.python} is ready")
    return 0


def lint(environment: Environment, arguments: Arguments) -> int:
    """Check style and types; with ``--fix``, correct what can be corrected first."""
    if "--fix" in arguments:
        steps(environment, ["ruff", "check", "--fix", "."], ["ruff", "format", "."])
    return steps(
        environment,
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["pyright"],
    )


def floors(environment: Environment, arguments: Arguments) -> int:
    """Check that imports only descend, and the rules on files beside it."""
    linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    contracts = ["-c", linter, "--cache-dir", ".cache/import-linter"]
    return steps(environment, contracts, ["pytest", "-q", "tests/test_floors.py", *arguments])


def docs(environment: Environment, arguments: Arguments) -> int:
    """Build the API pages into build/docs and check the links of the written ones."""
    return steps(
        environment,
        ["tools.links"],
        ["pdoc", "--docformat", "google", "-o", "build/docs", "puckstream", *arguments],
    )


def steps(environment: Environment, *commands: Arguments) -> int:
    """Run every step, also after one that failed; return the first status that was not 0."""
    failed = 0
    for command in commands:
        line = command if command[0] == "-c" else ["-m", *command]
        shown = "lint-imports" if command[0] == "-c" else " ".join(command)
        print(f"dev: {shown}", file=sys.stderr, flush=True)
        status = subprocess.run(
            [environment.python, *line], env=environment.variables(), check=False
        ).returncode
        failed = failed or status
    return failed


def become(environment: Environment, arguments: Arguments) -> NoReturn:
    """Replace this process by the environment's Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(environment.python, [str(environment.python), *arguments], environment.variables())


COMMANDS: dict[str, tuple[Command, tuple[str, ...], str]] = {
    "demo": (puckstream("demo"), ("run",), "show what this does, in the terminal; --json"),
    "chat": (puckstream("chat"), ("run",), "stream one answer: ./dev chat 'prompt'"),
    "model": (puckstream("model"), ("run",), "start the scripted model server"),
    "test": (test, ("run", "test"), "run the tests, on every core; arguments go to pytest"),
    "conformance": (
        module("conformance.run"),
        ("run", "conformance"),
        "run pykka's own tests on our actor classes",
    ),
    "lint": (lint, ("run", "lint"), "check style and types; --fix"),
    "floors": (floors, ("run", "lint"), "check the floors of ARCHITECTURE.md"),
    "bench": (module("benchmarks"), ("run", "bench"), "measure, beside the peers"),
    "docs": (docs, ("run", "docs"), "build the API pages and check links"),
    "build": (
        module("tools.wheel"),
        ("run",),
        "build the wheel and test it with the sources out of the way; --quick",
    ),
    "lock": (
        lambda _, arguments: lock.main(arguments),
        (),
        "write constraints/ anew, or only bring PACKAGE … up to date (needs uv)",
    ),
    "setup": (setup, ("run",), "only install: ./dev setup [GROUP …]"),
    "python": (python, ("run",), "the Python of .venv"),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
