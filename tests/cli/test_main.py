"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from puckstream.cli.main import main

if TYPE_CHECKING:
    from tests.cli.conftest import Start


async def test_no_command_is_a_usage_error_that_names_the_commands(start: Start) -> None:
    process = await start()
    _, err = await process.communicate()
    assert process.returncode == 2
    assert "usage: puckstream" in err.decode()


@pytest.mark.parametrize("command", ["chat", "demo", "model"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: puckstream {command}" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    program = (
        "import sys\n"
        "from puckstream.cli import demo, main\n"
        "def many(args):\n"
        "    for number in range(100_000):\n"
        "        print(number)\n"
        "demo.run = many\n"
        "sys.exit(main.main(['demo']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 1
