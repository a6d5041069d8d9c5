"""Thinking that a server leaves in the text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, strategies as st

from puckstream.backends.base import Chunk
from puckstream.backends.think_tags import ThinkTags


class Says:
    """A decoder whose every byte string is a chunk; ``!`` is a tool call."""

    done = False

    def feed(self, data: bytes) -> Iterator[Chunk]:
        text = data.decode()
        yield Chunk("tool_use", text) if text == "!" else Chunk("content", text, {"n": len(text)})

    def end(self) -> Iterator[Chunk]:
        yield Chunk("finish")


def told(*texts: str) -> list[tuple[str, str]]:
    filtered = ThinkTags(Says())
    chunks = [chunk for text in texts for chunk in filtered.feed(text.encode())]
    runs: list[tuple[str, str]] = []
    for chunk in [*chunks, *filtered.end()]:
        if runs and runs[-1][0] == chunk.type:
            runs[-1] = (chunk.type, runs[-1][1] + chunk.content)
        else:
            runs.append((chunk.type, chunk.content))
    return runs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>Hm.</think>\n\nYes.", [("thinking", "Hm."), ("content", "Yes.")]),
        ("\n <think>\nHm.\n</think>Yes.", [("thinking", "\nHm.\n"), ("content", "Yes.")]),
        ("<think></think>Yes.", [("content", "Yes.")]),
        ("<think>a < b </thin </think>Yes", [("thinking", "a < b </thin "), ("content", "Yes")]),
        ("<think>never closed </thi", [("thinking", "never closed </thi")]),
        ("<thinker> is text", [("content", "<thinker> is text")]),
        ("<thi", [("content", "<thi")]),
        ("Say <think>x</think>.", [("content", "Say <think>x</think>.")]),
        (
            "<think>a</think>b<think>c</think>",
            [("thinking", "a"), ("content", "b<think>c</think>")],
        ),
        ("  plain", [("content", "  plain")]),
    ],
)
def test_the_first_thing_between_the_tags_is_thinking_however_it_is_cut(
    text: str, expected: list[tuple[str, str]]
) -> None:
    for cut in range(len(text) + 1):
        parts = [part for part in (text[:cut], text[cut:]) if part]
        assert told(*parts) == [*expected, ("finish", "")]
    assert told(*text) == [*expected, ("finish", "")]


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "th", "/", " ", "\n", "a"])))
def test_no_letter_is_lost(parts: list[str]) -> None:
    runs = told(*parts)
    said = "".join(text for _, text in runs)
    whole = "".join(parts)
    for tag in ("<think>", "</think>"):
        said, whole = said.replace(tag, ""), whole.replace(tag, "")
    assert "".join(said.split()) == "".join(whole.split())


def test_what_is_kept_back_comes_before_a_chunk_of_another_kind() -> None:
    assert told("<thi", "!", "nk>a") == [
        ("content", "<thi"),
        ("tool_use", "!"),
        ("content", "nk>a"),
        ("finish", ""),
    ]


def test_the_metadata_of_a_chunk_stays_with_it() -> None:
    (chunk,) = ThinkTags(Says()).feed(b"<think>ab")
    assert (chunk.type, chunk.content, chunk.n) == ("thinking", "ab", 9)
