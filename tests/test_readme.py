"""The Python blocks of the README and of docs/ that claim to run do run.

A block whose fence says ``python runnable`` is a program: it runs in an interpreter of its own,
with warnings as errors. Where it defines a coroutine ``main`` and does not run it, it is run. A
line ``<!-- expect: text -->`` after the block names what its output has to contain.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^```python runnable\n(?P<code>.*?)^```$(?P<expected>(?:\n\s*<!-- expect: .*? -->)*)",
    re.DOTALL | re.MULTILINE,
)
EXPECTED = re.compile(r"<!-- expect: (.*?) -->")
TIME_LIMIT = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    line: int
    code: str
    expected: tuple[str, ...]

    def program(self) -> str:
        """Return the block as a program whose line numbers are those of the page."""
        program = "\n" * self.line + self.code
        if "async def main(" in self.code and "asyncio.run(" not in self.code:
            program += "\nimport asyncio\n\nasyncio.run(main())\n"
        return program


def blocks() -> list[Block]:
    found: list[Block] = []
    for page in PAGES:
        text = page.read_text("utf-8") if page.is_file() else ""
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            expected = tuple(EXPECTED.findall(match["expected"]))
            found.append(Block(page, line, match["code"], expected))
    return found


def name_of(block: Block) -> str:
    return f"{block.page.relative_to(ROOT)}:{block.line}"


@pytest.mark.parametrize("block", blocks(), ids=name_of)
def test_a_runnable_block_runs(block: Block, tmp_path: Path) -> None:
    program = tmp_path / block.page.name.replace(".md", ".py")
    program.write_text(block.program(), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [text for text in block.expected if text not in done.stdout] == []
