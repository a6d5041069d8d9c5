"""Which lines of docs/otp.md the tests name; a report at the end of a run of the whole suite.

A test names a line, ``S24``, in its docstring or its name. A module's docstring names lines for
all of its tests where it says so: ``Covers S61, S62.`` A range, ``S14 to S39``, names none: it
would go on naming lines that nobody checks. Tests are read, not run, so that the answer does not
depend on which were chosen.

``otp_lines.toml`` says why a line has no test. `test_otp_lines.py` checks both.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

__all__ = ["EXCUSES", "LAST", "PAGE", "TESTS", "Coverage", "coverage_of", "documented", "named_in"]

LAST = 81
TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "otp.md"
EXCUSES = TESTS / "otp_lines.toml"
STATUSES = {"planned": "planned", "not_applicable": "not applicable"}

RANGE = re.compile(r"\bS\d+\s*(?:to|-|–|—|…|\.\.\.?)\s*S\d+\b")
LINE = re.compile(r"(?:\b|_)[Ss](\d+)(?=\b|_)")
COVERS = re.compile(r"^Covers:?\s(.*?)(?:\.(?=\s|\Z)|\n\n|\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| S(\d+) \|", re.MULTILINE)


@dataclass(frozen=True)
class Coverage:
    """The lines of the page as the tests and the excuses leave them.

    Args:
        tests: for each line, the tests that name it.
        excuses: for each line that has one, its status and reason.
        strict: whether an excuse for a line that has tests is an error.
    """

    tests: dict[int, list[str]]
    excuses: dict[int, tuple[str, str]]
    strict: bool = True
    lines: range = field(default=range(1, LAST + 1))

    @property
    def covered(self) -> list[int]:
        return [line for line in self.lines if line in self.tests]

    @property
    def uncovered(self) -> list[int]:
        return [line for line in self.lines if line not in self.tests]

    @property
    def unknown(self) -> dict[int, list[str]]:
        """Lines the page does not have, and who names them."""
        named = {line: names for line, names in self.tests.items() if line not in self.lines}
        return named | {line: [EXCUSES.name] for line in self.excuses if line not in self.lines}

    @property
    def unexcused(self) -> list[int]:
        return [line for line in self.uncovered if line not in self.excuses]

    @property
    def stale(self) -> list[int]:
        """Lines that have an excuse, and tests all the same."""
        return [line for line in self.covered if line in self.excuses]

    def report(self) -> Iterator[str]:
        """Yield how many lines are covered, and a table of those that are not."""
        yield f"{len(self.covered)} of {len(self.lines)} lines of docs/otp.md are named by a test"
        width = max(map(len, STATUSES.values()))
        for line in self.uncovered:
            status, reason = self.excuses.get(line, ("MISSING", "no test names it"))
            yield f"  S{line:<3} {status:<{width}}  {reason}"
        if self.stale:
            names = ", ".join(f"S{line}" for line in self.stale)
            yield f"covered by now, take them out of {EXCUSES.name}: {names}"


def coverage_of(tests: Path = TESTS, excuses: Path = EXCUSES) -> Coverage:
    """Read the tests below a folder, and the file of excuses."""
    found: dict[int, list[str]] = {}
    for file in sorted(tests.rglob("test_*.py")):
        for name, lines in named_in(file.read_text("utf-8")):
            for line in lines:
                found.setdefault(line, []).append(f"{file.relative_to(tests)}::{name}")
    table = tomllib.loads(excuses.read_text("utf-8"))
    reasons = {
        int(key.removeprefix("S")): (shown, str(reason))
        for status, shown in STATUSES.items()
        for key, reason in table.get(status, {}).items()
    }
    return Coverage(found, reasons, strict=bool(table["strict"]))


def named_in(source: str) -> Iterator[tuple[str, set[int]]]:
    """Yield the name of each test in a module, and the lines it names."""
    module = ast.parse(source)
    for_all = lines_of(COVERS.findall(ast.get_docstring(module) or ""))
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            yield node.name, for_all | lines_of([node.name, ast.get_docstring(node) or ""])


def lines_of(texts: Iterable[str]) -> set[int]:
    return {int(number) for text in texts for number in LINE.findall(RANGE.sub("", text))}


def documented(page: Path = PAGE) -> list[int]:
    """Return the numbers of the rows of the page, in the order in which they stand."""
    return [int(number) for number in ROW.findall(page.read_text("utf-8"))]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Report after a run of the whole suite; one of a part is about something else."""
    option = config.option
    if option.file_or_dir or option.keyword or option.markexpr or option.collectonly:
        return
    terminalreporter.section("lines of OTP", sep="-")
    for line in coverage_of().report():
        terminalreporter.write_line(line)
