"""``puckstream model`` as a process: what it prints, and what ends it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from puckstream.testing.script import Fault

PATIENCE = 20.0  # seconds for a process to end


@contextmanager
def model(*options: str) -> Generator[subprocess.Popen[str]]:
    """Run the command; it is killed if the test did not end it."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "puckstream.cli.model", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(url: str, model: str = "any") -> Any:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    with urllib.request.urlopen(f"{url}/chat/completions", body) as response:
        return json.load(response)


def text(url: str, model: str = "any") -> str:
    content: str = ask(url, model)["choices"][0]["message"]["content"]
    return content


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_prints_its_address_first_and_stops_on_a_signal(
    number: signal.Signals, code: int
) -> None:
    with model("--text", "so it is") as process:
        url = line(process)
        assert text(url) == "so it is"
        assert line(process) == "req-1 any [default] complete after 3 of 3 tokens on connection 1"
        process.send_signal(number)
        assert process.wait(PATIENCE) == code
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_with_json_every_line_is_an_object_and_the_log_file_gets_them_too(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with model("--json", "--echo", "--log", str(log), "--until-stdin-closes") as process:
        url = json.loads(line(process))["url"]
        assert text(url) == "hi"
        record = json.loads(line(process))
        assert (record["id"], record["ended"], record["tokens_sent"]) == ("req-1", "complete", 1)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    assert json.loads(log.read_text("utf-8")) == record


def test_quiet_says_where_it_listens_and_nothing_else() -> None:
    with model("--quiet", "--until-stdin-closes") as process:
        url = line(process)
        ask(url, "echo")
        out, _ = process.communicate(timeout=PATIENCE)
    assert out == ""


def test_a_file_of_scripts_is_played(tmp_path: Path) -> None:
    file = tmp_path / "scripts.toml"
    file.write_text('[scripts.mine]\ntext = "from a file"\n', "utf-8")
    with model("--script", str(file)) as process:
        assert text(line(process), "mine") == "from a file"


def test_a_fault_of_the_command_line_happens() -> None:
    with model("--fault", "status:503") as process:
        url = line(process)
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(url)
        caught.value.close()
        assert caught.value.code == 503


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("cut", Fault("cut", after=None)),
        ("stall:3", Fault("stall", after=3)),
        ("malformed", Fault("malformed", after=0)),
        ("status:429", Fault("status", status=429)),
    ],
)
def test_a_fault_is_written_as_its_kind_and_a_number(said: str, fault: Fault) -> None:
    from puckstream.cli.model import _fault

    assert _fault(said) == fault


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fault", "explode"), "--fault='explode'"),
        (("--fault", "cut:x"), "a whole number after the colon"),
        (("--rate", "-1"), "rate=-1.0"),
        (("--script", "nowhere.json"), "nowhere.json"),
    ],
)
def test_an_option_that_cannot_work_is_one_line_and_exit_2(
    options: tuple[str, ...], message: str
) -> None:
    with model(*options) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_what_is_no_port_is_a_usage_error_that_names_it(port: str) -> None:
    with model("--port", port) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "argument --port" in err
    assert port in err


def test_a_port_that_is_taken_is_one_line_and_exit_1() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        model("--port", str(taken.getsockname()[1])) as process,
    ):
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "address already in use" in err
    assert err.count("\n") == 1
