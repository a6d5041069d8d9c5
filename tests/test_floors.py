"""The rules of the house that import-linter cannot see (``./dev floors`` runs both)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import puckstream

PACKAGE = Path(puckstream.__file__).resolve().parent
ROOT = Path(__file__).resolve().parent.parent
ROOMS = [
    PACKAGE,
    *(ROOT / name for name in ("tests", "examples", "benchmarks", "conformance", "tools")),
]
LONGEST_FILE = 500
LONGEST_EXAMPLE = 80

# What `import puckstream` must not load: found in no program that does not use it.
HEAVY = (
    *("zmq", "msgpack", "msgspec", "nats", "httpx", "httpcore", "h11"),
    *("starlette", "uvicorn", "textual", "rich", "opentelemetry"),
    *("anthropic", "ollama", "openai"),
)


def python_files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def test_importing_puckstream_loads_no_transport_http_client_or_web_server() -> None:
    """In a fresh interpreter, which tells what it has loaded."""
    program = (
        "import sys, puckstream\n"
        "assert puckstream.__all__\n"
        f"print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == []


def test_no_file_is_longer_than_two_nouns_deserve() -> None:
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in python_files(*ROOMS)}
    assert {file: length for file, length in lengths.items() if length > LONGEST_FILE} == {}


def test_every_example_fits_on_a_screen_and_a_half() -> None:
    lengths = {
        file: len(file.read_text("utf-8").splitlines()) for file in python_files(ROOT / "examples")
    }
    assert {file: length for file, length in lengths.items() if length > LONGEST_EXAMPLE} == {}


def test_an_init_file_holds_a_docstring_imports_and_all() -> None:
    offences = [
        f"{file.relative_to(PACKAGE)}:{statement.lineno}"
        for file in python_files(PACKAGE)
        if file.name == "__init__.py"
        for statement in ast.parse(file.read_text("utf-8")).body
        if not is_facade(statement)
    ]
    assert offences == []


def is_facade(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant(value=str())) | ast.Import() | ast.ImportFrom():
            return True
        case (
            ast.Assign(targets=[ast.Name(id="__all__" | "__version__")])
            | ast.AnnAssign(target=ast.Name(id="__all__"))
        ):
            return True
        case _:
            return False


def test_modules_import_their_siblings_and_never_the_facade() -> None:
    facades = {
        ".".join(file.relative_to(PACKAGE.parent).parent.parts)
        for file in python_files(PACKAGE)
        if file.name == "__init__.py"
    }
    offences = [
        f"{file.relative_to(PACKAGE)}: {ast.unparse(statement)}"
        for file in python_files(PACKAGE)
        if file.name not in {"__init__.py", "__main__.py"}
        for statement in ast.walk(ast.parse(file.read_text("utf-8")))
        if imports_a_facade(statement, facades)
    ]
    assert offences == []


def imports_a_facade(statement: ast.AST, facades: set[str]) -> bool:
    match statement:
        case ast.Import(names=names):
            return any(name.name in facades for name in names)
        case ast.ImportFrom(level=level, module=str(module), names=names) if module in facades:
            # A module taken from its package by name is the sibling itself.
            folder = PACKAGE.parent.joinpath(*module.split("."))
            siblings = {file.stem for file in folder.glob("*.py")}
            return level > 0 or not {name.name for name in names} <= siblings
        case ast.ImportFrom(level=level):
            return level > 0
        case _:
            return False


def test_every_module_says_what_it_makes_public() -> None:
    silent = [
        str(file.relative_to(PACKAGE))
        for file in python_files(PACKAGE)
        if file.name not in {"__init__.py", "__main__.py"}
        and not re.search(r"^__all__\b", file.read_text("utf-8"), re.MULTILINE)
    ]
    assert silent == []


def test_tests_never_sleep() -> None:
    """``asyncio.sleep(0)`` is one turn of the loop and allowed; ruff bans ``time.sleep``."""
    offences = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for file in python_files(ROOT / "tests")
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call) and is_a_pause(call)
    ]
    assert offences == []


def is_a_pause(call: ast.Call) -> bool:
    match call:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="asyncio" | "anyio"), attr="sleep"),
            args=[ast.Constant(value=0), *_],
        ):
            return False
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="asyncio" | "anyio" | "time"), attr="sleep")
        ):
            return True
        case _:
            return False


def test_nothing_is_skipped() -> None:
    marks = {"skip", "skipif", "importorskip"}
    offences = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in python_files(ROOT / "tests")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in marks
        and ast.unparse(node.value) in {"pytest", "pytest.mark"}
    ]
    assert offences == []
