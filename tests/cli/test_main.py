"""The command line as a whole."""

from __future__ import annotations

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
