"""``puckstream demo`` shows what it promises, and fails when it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from puckstream.cli import demo
from puckstream.errors import PuckstreamError

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import Start


async def test_every_step_happens_and_the_exit_status_is_0(start: Start) -> None:
    process = await start("demo", "--json")
    out, err = await process.communicate()
    steps = [json.loads(line) for line in out.splitlines()]
    assert (process.returncode, err) == (0, b"")
    assert all(step["ok"] for step in steps)
    _, followed, cancelled, killed, restarted, after, summary = steps
    assert followed["viewers"] == 2
    assert followed["late_joiner"] == followed["characters"] > 0
    assert 0 < cancelled["tokens_sent"] < cancelled["tokens_total"]
    assert (killed["terminal"], killed["kind"], killed["viewers"]) == ("error", "killed", 2)
    assert restarted["restarts"] == 1
    assert {child["id"] for child in after["tree"]["children"]} == {
        "registry",
        "pubsub",
        "groups",
        "streams",
        "app",
    }
    assert summary["ok"]


async def test_the_show_is_told_step_by_step_for_people(start: Start) -> None:
    process = await start("demo")
    out, _ = await process.communicate()
    text = out.decode()
    assert process.returncode == 0
    assert "connection closed by the client at token" in text
    assert "restarted 1×" in text
    assert "all of it happened" in text


def test_the_exit_status_is_1_if_a_step_did_not_happen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fails(*_: object) -> demo.Step:
        """A step that fails."""
        msg = "it did not happen"
        raise PuckstreamError(msg)

    for step in ("_two_viewers_and_a_late_one", "_cancel_closes_the_upstream"):
        monkeypatch.setattr(demo, step, fails)
    monkeypatch.setattr(demo, "_killed_stream_says_goodbye", fails)
    from puckstream.cli.main import main

    assert main(["demo"]) == 1
    assert capsys.readouterr().err.count("FAILED: it did not happen") == 3
