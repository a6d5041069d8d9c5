"""Nodes of one machine find each other, and what the dead have left is swept away."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from puckstream.errors import InsecureBind, InvalidOption
from puckstream.transports import run_directory
from puckstream.transports.run_directory import RunDirectory

HOLD = """
import sys
from pathlib import Path
from puckstream.transports.run_directory import RunDirectory
directory = RunDirectory("team", Path(sys.argv[1]))
Path(directory.claim("victim").removeprefix("ipc://")).touch()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def victim(base: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the place ``victim``."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(base)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def claimed(base: Path, name: str) -> RunDirectory:
    directory = RunDirectory("team", base)
    Path(directory.claim(name).removeprefix("ipc://")).touch()
    return directory


def test_nodes_see_each_others_addresses_and_their_own(base: Path) -> None:
    one, two = claimed(base, "one"), claimed(base, "two")
    assert (
        one.addresses()
        == two.addresses()
        == [
            f"ipc://{base}/team/one.sock",
            f"ipc://{base}/team/two.sock",
        ]
    )
    one.release()
    assert two.addresses() == [f"ipc://{base}/team/two.sock"]
    two.release()
    two.release()
    assert list((base / "team").iterdir()) == []


def test_clusters_do_not_see_each_other(base: Path) -> None:
    one = claimed(base, "one")
    assert RunDirectory("other", base).addresses() == []
    one.release()


def test_a_name_that_a_live_process_has_is_refused(
    base: Path, victim: subprocess.Popen[str]
) -> None:
    assert victim.poll() is None
    directory = RunDirectory("team", base)
    with pytest.raises(BlockingIOError):
        directory.claim("victim")
    assert directory.sweep() == []
    assert directory.addresses() == [f"ipc://{base}/team/victim.sock"]


def test_what_a_killed_process_has_left_is_swept_away(
    base: Path, victim: subprocess.Popen[str]
) -> None:
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    directory = claimed(base, "me")
    assert directory.sweep() == ["victim"]
    assert directory.addresses() == [f"ipc://{base}/team/me.sock"]
    directory.release()


def test_the_name_of_a_killed_process_is_free_at_once(
    base: Path, victim: subprocess.Popen[str]
) -> None:
    victim.kill()
    victim.wait()
    directory = RunDirectory("team", base)
    assert directory.claim("victim") == f"ipc://{base}/team/victim.sock"
    directory.release()


def test_a_lock_that_is_swept_while_it_is_claimed_is_claimed_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory("team", base)
    real = run_directory._locked
    swept: list[Path] = []

    def locked(path: Path, *, create: bool = True) -> int | None:
        if not swept:
            swept.append(path)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            path.unlink()
            os.close(descriptor)
            return None
        return real(path, create=create)

    monkeypatch.setattr(run_directory, "_locked", locked)
    directory.claim("one")
    assert (base / "team" / "one.lock").exists()
    directory.release()


def test_a_lock_on_a_removed_file_is_no_lock(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunDirectory("team", base)
    path = base / "team" / "one.lock"
    flock = fcntl.flock

    def late(descriptor: int, flags: int) -> None:
        path.unlink()
        flock(descriptor, flags)

    monkeypatch.setattr(fcntl, "flock", late)
    assert run_directory._locked(path) is None


@pytest.mark.parametrize("cluster", ["", "..", "a/b", "a b", "\x00"])
def test_a_cluster_that_cannot_be_a_directory_is_refused_by_name(base: Path, cluster: str) -> None:
    with pytest.raises(InvalidOption, match="cluster"):
        RunDirectory(cluster, base)


def test_a_directory_that_others_may_use_is_refused(base: Path) -> None:
    RunDirectory("team", base)
    (base / "team").chmod(0o755)
    with pytest.raises(InsecureBind, match="0700"):
        RunDirectory("team", base)


def test_a_link_in_place_of_the_directory_is_refused(base: Path, tmp_path: Path) -> None:
    RunDirectory("team", base)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (base / "linked").symlink_to(elsewhere)
    with pytest.raises(InsecureBind, match="no directory of this user"):
        RunDirectory("linked", base)


def test_a_path_too_long_for_a_socket_is_refused_with_the_remedy(base: Path) -> None:
    directory = RunDirectory("team", base / ("x" * 100))
    with pytest.raises(InvalidOption, match="XDG_RUNTIME_DIR"):
        directory.claim("one")


def test_the_directory_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert RunDirectory("team").path == tmp_path / "puckstream" / "team"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    path = RunDirectory("team").path
    assert path == tmp_path / f"puckstream-{os.getuid()}" / "team"
    assert path.stat().st_mode & 0o777 == 0o700
