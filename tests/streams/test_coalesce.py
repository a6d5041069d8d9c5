from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from puckstream.backends.base import Chunk
from puckstream.streams.coalesce import join, piece, seam
from puckstream.streams.events import StartedEvent, StartInfo
from puckstream.streams.response import ResponseBuilder


def call(text: str, **known: Any) -> Chunk:
    return Chunk("tool_use", text, {"index": 0, "id": "c", "name": "f", "arguments": text, **known})


ALONE: list[Any] = [
    Chunk("content", {"step": 1}),
    Chunk("content", None),
    Chunk("content", "a", {"logprob": -0.1}),
    Chunk("citation", "a"),
    Chunk("unknown", "a"),
    Chunk("finish", ""),
    Chunk("tool_use", "a"),
    call("a", signature="s"),
    call("a", arguments="b"),
    call("a", index=[0]),
    StartedEvent(StartInfo(), seq=1),
    ("content", "a", {}),
]


@pytest.mark.parametrize("entry", ALONE, ids=repr)
def test_what_may_mean_anything_stays_alone(entry: Any) -> None:
    assert seam(entry) is None


def test_only_deltas_of_one_kind_and_of_one_call_have_a_seam_in_common() -> None:
    kinds = [
        Chunk("content", "a"),
        Chunk("thinking", "a"),
        call("a"),
        call("a", index=1),
        call("a", id="other"),
        call("a", name="g"),
        Chunk("tool_use", "a", {"index": 0, "id": "c", "name": "f"}),
    ]
    assert len({seam(chunk) for chunk in kinds}) == len(kinds)
    assert None not in {seam(chunk) for chunk in kinds}


CHUNKS = st.builds(
    lambda text, how: how(text),
    st.text(max_size=5),
    st.sampled_from(
        [
            lambda text: Chunk("content", text),
            lambda text: Chunk("thinking", text),
            call,
            lambda text: call(text, index=1, id="d", name="g"),
            lambda text: Chunk("tool_use", text, {"index": 1, "id": None, "name": "g"}),
            lambda text: Chunk("citation", text, {"url": text}),
        ]
    ),
)


@given(st.lists(CHUNKS, max_size=30))
def test_an_answer_put_together_from_joined_chunks_is_the_same(chunks: list[Chunk]) -> None:
    alone, joined = ResponseBuilder(), ResponseBuilder()
    run: list[Chunk] = []
    for chunk in chunks:
        alone.add(chunk)
        if run and (seam(chunk) is None or seam(chunk) != seam(run[0])):
            joined.add(join(run))
            run = []
        run.append(chunk)
    if run:
        joined.add(join(run))
    assert joined.build() == alone.build()


@given(CHUNKS.filter(lambda chunk: seam(chunk) is not None), st.text(max_size=5))
def test_a_piece_is_what_a_chunk_of_that_text_would_have_been(like: Chunk, text: str) -> None:
    made = piece(like, text)
    assert seam(made) == seam(like)
    assert (made.content, made.metadata.get("arguments", text)) == (text, text)
    assert piece(made, like.content) == like


def test_a_chunk_alone_is_joined_to_itself() -> None:
    chunk = Chunk("citation", "a", {"url": "u"})
    assert join([chunk]) is chunk
