"""Build the wheel, and run the tests against it with the sources out of the way.

The tests are copied to a folder that has no ``puckstream/`` beside them and run in an environment
of their own that holds the wheel, its dependencies and the test tools: what the wheel forgets to
carry is missing here as it would be at a user's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.environment import Environment
from tools.installer import SetupFailed, run, say
from tools.suite import arguments_for

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "wheel"
BESIDE_THE_SOURCES = (
    *("tests", "examples", "docs", "benchmarks", "constraints"),
    *("README.md", "pyproject.toml"),
)
LOADED_FROM = "import pathlib, puckstream; print(pathlib.Path(puckstream.__file__).resolve())"


def main(arguments: list[str]) -> int:
    """Build and test; ``--quick`` only tests the rules on files and imports.

    Raises:
        SetupFailed: the wheel cannot be built, installed or imported.
    """
    quick = "--quick" in arguments
    wheel = build()
    environment = Environment(ROOT, BUILD / "venv")
    shutil.rmtree(environment.path, ignore_errors=True)
    environment.ensure(["run", "test"], project=False)
    environment.installer().install(environment.python, ["--no-deps", str(wheel)], ROOT)
    with tempfile.TemporaryDirectory(prefix="puckstream-wheel-") as temporary:
        folder = Path(temporary)
        copy_to(folder)
        check_origin(environment, folder)
        run([str(environment.python.parent / "puckstream"), "--help"], folder)
        chosen = ["tests/test_floors.py"] if quick else []
        chosen += [argument for argument in arguments if argument != "--quick"]
        say(f"testing {wheel.name} without the sources")
        return subprocess.run(
            [environment.python, "-m", "pytest", *arguments_for(chosen)],
            cwd=folder,
            env=environment.variables(),
            check=False,
        ).returncode


def build() -> Path:
    """Build the wheel from the sources and return it."""
    shutil.rmtree(BUILD / "dist", ignore_errors=True)
    say("building the wheel")
    run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(BUILD / "dist")], ROOT
    )
    (wheel,) = (BUILD / "dist").glob("*.whl")
    return wheel


def copy_to(folder: Path) -> None:
    """Copy everything the tests read, and nothing of the package."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in BESIDE_THE_SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        elif source.is_file():
            shutil.copy(source, folder / name)


def check_origin(environment: Environment, folder: Path) -> None:
    """Fail unless ``puckstream`` is loaded from the environment."""
    found = subprocess.run(
        [environment.python, "-c", LOADED_FROM],
        cwd=folder,
        env=environment.variables(),
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    if not Path(found).is_relative_to(environment.path.resolve()):
        msg = f"puckstream was loaded from {found}, not from the wheel"
        raise SetupFailed(msg)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupFailed as failure:
        say(str(failure))
        sys.exit(1)
