"""Scripts as data: what they add up to, and how they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, strategies

from puckstream.errors import InvalidOption
from puckstream.testing.builtin_scripts import BUILTIN_SCRIPTS
from puckstream.testing.script import Fault, Script, ToolCall, load_scripts


@given(strategies.text(), strategies.integers(1, 5))
def test_the_pieces_of_a_text_make_the_text(text: str, chunk: int) -> None:
    pieces = Script(text=text, chunk=chunk).pieces()
    assert "".join(piece.text for piece in pieces) == text
    assert all(1 <= piece.tokens <= chunk for piece in pieces)
    one_by_one = Script(text=text).pieces()
    assert sum(piece.tokens for piece in pieces) == len(one_by_one)


def test_thinking_comes_first_and_tools_last() -> None:
    script = Script(
        text="t u", thinking="x", refusal="r", tool_calls=(ToolCall("f", '{"a": "bcdefgh"}'),)
    )
    assert [(piece.kind, piece.text) for piece in script.pieces()] == [
        ("thinking", "x"),
        ("content", "t "),
        ("content", "u"),
        ("refusal", "r"),
        ("tool", ""),
        ("tool", '{"a": "b'),
        ("tool", 'cdefgh"}'),
    ]
    assert script.ending == "tool_calls"


def test_an_echo_says_what_was_said() -> None:
    assert [piece.text for piece in Script(echo=True).pieces("so be it")] == ["so ", "be ", "it"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Script(rate=-1), "rate=-1"),
        (lambda: Script(delay=float("nan")), "delay=nan"),
        (lambda: Script(chunk=0), "chunk=0"),
        (lambda: Fault(cast("Any", "explode")), "fault.kind='explode'"),
        (lambda: Fault("cut", after=-1), "fault.after=-1"),
        (lambda: Fault("error", after=None), "fault.after=None"),
        (lambda: Fault("status", status=200), "fault.status=200"),
        (lambda: Script.read({"txet": "x"}), "script='txet'"),
        (lambda: Script.read({"fault": {"kid": "x"}}), "fault='kid'"),
        (lambda: Script.read({"tool_calls": [{"nam": "x"}]}), "toolcall='nam'"),
    ],
)
def test_an_impossible_value_is_named(make: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        make()


def test_json_with_one_script_a_list_and_a_table_is_read(tmp_path: Path) -> None:
    file = tmp_path / "s.json"

    def read(said: object) -> dict[str, tuple[Script, ...]]:
        file.write_text(json.dumps(said), "utf-8")
        return load_scripts(file)

    assert read({"text": "a"}) == {"": (Script(text="a"),)}
    assert read([{"text": "a"}, {"text": "b"}]) == {"": (Script(text="a"), Script(text="b"))}
    assert read({"scripts": {"x": {"text": "a"}, "": [{"rate": 2}]}}) == {
        "x": (Script(text="a"),),
        "": (Script(rate=2),),
    }
    call = {"name": "f", "arguments": {"x": 1}}
    assert read({"tool_calls": [call]})[""][0].tool_calls == (ToolCall("f", '{"x": 1}'),)


def test_the_toml_of_the_module_s_docstring_is_read(tmp_path: Path) -> None:
    from puckstream.testing import script

    assert script.__doc__ is not None
    example = script.__doc__.partition("::\n")[2]
    file = tmp_path / "s.toml"
    file.write_text("\n".join(line.strip() for line in example.splitlines()), "utf-8")
    scripts = load_scripts(file)
    assert scripts["slow"] == (Script(text="One word at a time.", rate=5),)
    assert scripts["flaky"][0].fault == Fault("status", status=429, retry_after=1)
    assert scripts["flaky"][1].text == "At the second attempt."


@pytest.mark.parametrize("text", ["{", "[]", "[1]", "3"])
def test_a_file_that_holds_no_scripts_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text(text, "utf-8")
    with pytest.raises(InvalidOption, match="script="):
        load_scripts(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"none\.toml"):
        load_scripts(tmp_path / "none.toml")


def test_the_built_in_story_is_a_few_hundred_tokens() -> None:
    assert 200 <= len(BUILTIN_SCRIPTS["story"].pieces()) <= 500
