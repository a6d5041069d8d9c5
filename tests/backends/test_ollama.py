"""What goes to Ollama: messages, options, and the address as Ollama itself reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from puckstream.backends.base import Request
from puckstream.backends.ollama import Ollama
from puckstream.errors import InvalidOption, StreamError

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}


def body(*messages: dict[str, Any], **options: Any) -> dict[str, Any]:
    backend = Ollama("qwen", base_url="http://h")
    said = backend.request_body(Request(messages, options))
    sent: dict[str, Any] = json.loads(
        json.dumps({name: v for name, v in said.items() if v is not None})
    )
    return sent


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_the_conversation_is_sent_with_arguments_as_objects_and_results_by_the_tool_s_name() -> (
    None
):
    said = body(
        {"role": "developer", "content": "Be brief."},
        user("Where?"),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [CALL],
            "native": {"ollama": {"thinking": "Hm"}},
        },
        {"role": "tool", "tool_call_id": "c1", "content": "blue"},
        {"role": "tool", "tool_call_id": "x", "name": "see", "content": "grey"},
    )
    assert said == {
        "model": "qwen",
        "stream": True,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "look", "arguments": {"at": 1}}}],
                "thinking": "Hm",
            },
            {"role": "tool", "content": "blue", "tool_name": "look"},
            {"role": "tool", "content": "grey", "tool_name": "see"},
        ],
    }


def test_images_are_data_and_an_address_is_refused() -> None:
    data = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    text = {"type": "text", "text": "See"}
    assert body(user([text, data]))["messages"][0] == {
        "role": "user",
        "content": "See",
        "images": ["AAAA"],
    }
    with pytest.raises(StreamError, match=r"https://h/a\.png") as caught:
        body(user([{"type": "image_url", "image_url": "https://h/a.png"}]))
    assert caught.value.kind == "invalid_request"


def test_options_are_fields_or_parameters_of_the_model() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    said = body(
        user("x"),
        tools=tools,
        think=True,
        keep_alive="5m",
        format="json",
        temperature=0.5,
        num_ctx=4096,
        max_tokens=7,
        stream_options={},
        top_p=None,
        tool_choice="auto",
        options={"seed": 1},
    )
    assert said["options"] == {"seed": 1, "num_predict": 7, "temperature": 0.5, "num_ctx": 4096}
    assert (said["tools"], said["think"], said["keep_alive"], said["format"]) == (
        tools,
        True,
        "5m",
        "json",
    )
    assert set(said) == {
        *("model", "messages", "stream", "options", "tools", "think", "keep_alive", "format")
    }
    assert "tools" not in body(user("x"), tools=tools, tool_choice="none")


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        (":56789", "http://127.0.0.1:56789"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (" example.com ", "http://example.com:11434"),
        ("example.com:56789/", "http://example.com:56789"),
        ("example.com/path", "http://example.com:11434/path"),
        ("http://example.com", "http://example.com"),
        ("https://example.com:8443/path/", "https://example.com:8443/path"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::]:80", "http://[::1]:80"),
        ("[::1]", "http://[::1]:11434"),
        ("http://[::1]:5", "http://[::1]:5"),
    ],
)
def test_the_address_is_read_as_ollama_reads_it(
    said: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", said)
    backend = Ollama("m")
    assert backend.base_url == url
    assert backend.url() == f"{url}/api/chat"


@pytest.mark.parametrize("said", ["ftp://h", "h:port", "http://me:secret@h", "http://h/api/chat"])
def test_an_address_that_cannot_be_is_refused(said: str) -> None:
    with pytest.raises(InvalidOption, match="base_url") as caught:
        Ollama("m", base_url=said)
    assert "secret" not in str(caught.value)


def test_a_key_is_sent_where_there_is_one_and_never_demanded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)
    assert Ollama("m").credentials() == {}
    monkeypatch.setenv("OLLAMA_API_KEY", "k")
    assert Ollama("m", base_url="https://ollama.com").credentials() == {"authorization": "Bearer k"}
