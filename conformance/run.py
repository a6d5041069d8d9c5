"""Run pykka's own test suite on the actor classes of this package.

The suite is taken from pykka's source distribution, in the version and with the hashes of
``constraints/run.txt``, and kept under ``.cache/``. One line is added to its ``conftest.py``: the
import of our ``runtime`` fixture (``conformance/plugin.py``). Nothing else in it is changed, and
every test runs: those named in ``exceptions.toml`` must fail, all others must pass.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "conformance"
FIXTURE = "from conformance.plugin import runtime  # noqa: F811\n"
TOTAL_TIMEOUT = 300.0  # seconds for the whole suite, which takes a few


class ConformanceError(Exception):
    """The suite cannot be fetched or run."""


def main(arguments: list[str]) -> int:
    """Fetch the suite where it is not there yet, run it, and return pytest's status."""
    try:
        return run_suite(fetch_suite(), arguments)
    except ConformanceError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 1


def fetch_suite() -> Path:
    """Return the folder of the prepared source distribution, complete or not there at all."""
    version, requirement = pinned()
    folder = CACHE / f"pykka-{version}"
    if folder.is_dir():
        return folder
    print(f"conformance: fetching the source distribution of pykka {version}", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        wanted = Path(temporary) / "pykka.txt"
        wanted.write_text(requirement, "utf-8")
        download(wanted, Path(temporary))
        (archive,) = Path(temporary).glob("pykka-*.tar.gz")
        unpack(archive, Path(temporary))
        unpacked = Path(temporary) / folder.name
        with (unpacked / "tests" / "conftest.py").open("a", encoding="utf-8") as file:
            file.write(f"\n{FIXTURE}")
        unpacked.rename(folder)
    return folder


def pinned() -> tuple[str, str]:
    """Return pykka's pinned version and the lines that pin it."""
    text = (ROOT / "constraints" / "run.txt").read_text("utf-8")
    found = re.search(r"^pykka==(\S+)[^\n]*(\n +--hash=[^\n]+)+", text, re.MULTILINE)
    if found is None:
        msg = "constraints/run.txt pins no pykka"
        raise ConformanceError(msg)
    return found[1], found[0] + "\n"


def download(requirement: Path, folder: Path) -> None:
    """Have pip download the source distribution and compare it with the pinned hashes."""
    # pip asks a source distribution for its metadata; the backend for that is installed.
    options = ["--quiet", "--no-deps", "--no-binary", "pykka", "--no-build-isolation"]
    pip = [sys.executable, "-m", "pip", "download", *options, "--disable-pip-version-check"]
    command = [*pip, "--require-hashes", "-r", str(requirement), "-d", str(folder)]
    if subprocess.run(command, check=False).returncode != 0:
        msg = "pip could not download it"
        raise ConformanceError(msg)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive whose hash is known."""
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:  # Python before 3.11.4
            tar.extractall(folder)  # noqa: S202


def run_suite(suite: Path, arguments: list[str]) -> int:
    """Run pytest in the suite's folder; it is ended, with its children, when it takes too long."""
    configuration = Path(__file__).with_name("pytest.ini")
    options = [f"--config-file={configuration}", f"--rootdir={suite}"]
    if not any(argument.startswith("tests") for argument in arguments):
        options.append("tests")
    path = os.pathsep.join([str(suite), str(ROOT)])  # ``tests`` is theirs, ``puckstream`` ours
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pytest", *options, *arguments],
        cwd=suite,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    )
    try:
        return process.wait(TOTAL_TIMEOUT)
    except subprocess.TimeoutExpired:
        msg = f"the suite was ended after {TOTAL_TIMEOUT:.0f} s"
        raise ConformanceError(msg) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
