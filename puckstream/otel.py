"""OpenTelemetry for the streams of a node: a span and the metrics of every model call.

Follows OpenTelemetry's semantic conventions for generative AI: one span of kind CLIENT, named
``chat MODEL``, for each stream that asks a model, and the histograms of the ``gen_ai.client``
family. A stream that runs a function has an INTERNAL span ``stream``; what its function starts is
below that. A span begins with the stream and ends with its one end, whoever writes it: also on
cancel, on kill, and when the node shuts down.

Nothing is ever attached to a context: a span's parent is the span that is current where the stream
was started, and spans and measurements name their context themselves.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from puckstream.errors import InvalidOption
from puckstream.telemetry import (
    ChunkArrived,
    FirstChunk,
    HandlerFailed,
    Record,
    Retrying,
    StreamCancelled,
    StreamEnded,
    StreamFailed,
    StreamStarted,
    StreamStopped,
)

if TYPE_CHECKING:
    from puckstream.backends.base import Message
    from puckstream.node import Node
    from puckstream.streams.response import Response

__all__ = ["instrument"]

logger = logging.getLogger("puckstream.telemetry")

_SCOPE: Final = "puckstream"
_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURING: Final = frozenset({"1", "true", "span_only", "span_and_event"})
_SECONDS: Final = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
_TOKENS: Final = tuple(4**power for power in range(14))
# A cancel of these reasons is what somebody wanted; any other is a clock that ran out.
_WANTED: Final = frozenset({"user", "shutdown", "replaced", "abandoned"})

Attributes = dict[str, Any]


def instrument(
    node: Node,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
    capture_content: bool | None = None,
    chunk_times: bool = True,
) -> Callable[[], None]:
    """Have OpenTelemetry told of every stream ``node`` starts from now on.

    Args:
        node: the node, entered or not.
        tracer_provider: makes the spans; the global one by default.
        meter_provider: takes the metrics; the global one by default.
        capture_content: whether spans carry what was said, as ``gen_ai.input.messages`` and
            ``gen_ai.output.messages``. By default the environment's
            ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` decides, and else they do not.
        chunk_times: whether every chunk is measured, for
            ``gen_ai.client.operation.time_per_output_chunk``; it costs microseconds for each.

    Returns:
        A function that ends it. Spans of streams that still run end with it. Idempotent.

    Raises:
        InvalidOption: if an option is neither true nor false.
    """
    if capture_content is None:
        capture_content = os.environ.get(_CAPTURE, "").strip().lower() in _CAPTURING
    if not isinstance(cast("object", capture_content), bool):
        raise InvalidOption("capture_content", capture_content, "True, False or None")
    if not isinstance(cast("object", chunk_times), bool):
        raise InvalidOption("chunk_times", chunk_times, "True or False")
    spans = _Spans(
        trace.get_tracer(_SCOPE, tracer_provider=tracer_provider),
        _Metrics(metrics.get_meter(_SCOPE, meter_provider=meter_provider)),
        capture_content=capture_content,
    )
    detach = node.telemetry.attach(spans.take, chunks=chunk_times)

    def end() -> None:
        detach()
        spans.close()

    return end


class _Metrics:
    """The histograms of the conventions."""

    def __init__(self, meter: metrics.Meter) -> None:
        self.duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="From the start of a request to the end of its answer",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.first_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="From the start of a request to the first chunk of its answer",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.per_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_per_output_chunk",
            unit="s",
            description="From one chunk of an answer to the next",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of a request and its answer, as the provider counts them",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )


class _Open(NamedTuple):
    """A stream that runs: its span, and what its measurements are labelled with."""

    span: Span
    context: Context
    labels: Attributes
    is_model: bool


class _Spans:
    """Turns records into spans and measurements. Belongs to the loop's thread."""

    def __init__(self, tracer: trace.Tracer, meters: _Metrics, *, capture_content: bool) -> None:
        self._tracer = tracer
        self._meters = meters
        self._capture_content = capture_content
        self._open: dict[int, _Open] = {}

    def take(self, record: Record) -> None:
        """Take note of ``record``."""
        if isinstance(record, StreamStarted):
            self._start(record)
            return
        open_ = self._open.get(record.run)
        if open_ is None:
            return
        if isinstance(record, ChunkArrived):
            if open_.is_model:
                self._meters.per_chunk.record(record.seconds, open_.labels, context=open_.context)
        elif isinstance(record, FirstChunk):
            if open_.is_model:
                self._meters.first_chunk.record(record.seconds, open_.labels, context=open_.context)
        elif isinstance(record, Retrying):
            self._retry(record, open_)
        elif isinstance(record, HandlerFailed):
            # Its type only: what an exception says may quote what was said.
            kind = {"exception.type": type(record.error).__qualname__}
            open_.span.add_event("handler failed", kind | {"puckstream.handler": record.method})
        else:
            del self._open[record.run]
            self._end(record, open_)

    def close(self) -> None:
        """End every span that is open; what happens to its stream is not known any more."""
        while self._open:
            self._open.popitem()[1].span.end()

    def _start(self, record: StreamStarted) -> None:
        model = record.provider is not None
        labels = _labels(record)
        attributes: Attributes = {"puckstream.stream.id": record.stream_id}
        # Where it is sent may change with a retry, and an attribute cannot be taken back.
        attributes |= {name: labels[name] for name in labels if not name.startswith("server.")}
        if model:
            attributes["gen_ai.request.stream"] = True
        if record.conversation is not None:
            attributes["gen_ai.conversation.id"] = record.conversation
        if model and self._capture_content:
            attributes |= _said("gen_ai.input.messages", lambda: map(_message, record.context))
        span = self._tracer.start_span(
            (f"chat {record.model}" if record.model else "chat") if model else "stream",
            context=self._parent(record),
            kind=SpanKind.CLIENT if model else SpanKind.INTERNAL,
            attributes=attributes,
        )
        self._open[record.run] = _Open(span, trace.set_span_in_context(span), labels, model)

    def _parent(self, record: StreamStarted) -> Context | None:
        """Return the context of the parent; ``None`` is that of the code that started it."""
        parent = None if record.parent is None else self._open.get(record.parent)
        if parent is None or trace.get_current_span().get_span_context().is_valid:
            return None
        return parent.context

    def _retry(self, record: Retrying, open_: _Open) -> None:
        open_.span.add_event(
            "retrying",
            {
                "puckstream.attempt": record.attempt,
                "puckstream.delay": record.delay,
                "error.type": record.error.kind,
            },
        )
        self._open[record.run] = open_._replace(labels=_labels(record))

    def _end(self, record: StreamStopped | StreamFailed | StreamCancelled, open_: _Open) -> None:
        span = open_.span
        labels = dict(open_.labels)
        error = _error_type(record)
        if error is not None:
            labels["error.type"] = error
            span.set_status(Status(StatusCode.ERROR, self._description(record, error)))
        if open_.is_model and record.response_model is not None:
            labels["gen_ai.response.model"] = record.response_model
        span.set_attributes(labels | _outcome(record, is_model=open_.is_model))
        if open_.is_model:
            if self._capture_content:
                span.set_attributes(_said("gen_ai.output.messages", lambda: _output(record)))
            self._measure(record, labels, open_.context)
        span.end()

    def _description(self, record: StreamEnded, error: str) -> str:
        if not isinstance(record, StreamFailed):
            return error
        if self._capture_content:
            return record.error.message
        # A message may quote what was said.
        cause = record.error.__cause__
        return error if cause is None else f"{error} ({type(cause).__qualname__})"

    def _measure(self, record: StreamEnded, labels: Attributes, context: Context) -> None:
        self._meters.duration.record(record.duration, labels, context=context)
        if record.usage.estimated:
            return  # the conventions want what the provider counted, or nothing
        counts = {"input": record.usage.input, "output": record.usage.output}
        for kind, count in counts.items():
            if count is not None:
                typed = labels | {"gen_ai.token.type": kind}
                self._meters.tokens.record(count, typed, context=context)


def _labels(record: StreamStarted | Retrying) -> Attributes:
    """Return what tells calls of one kind from others, on spans and measurements alike."""
    if record.provider is None:
        return {}
    labels: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": record.provider,
    }
    if record.model:
        labels["gen_ai.request.model"] = record.model
    if record.base_url:
        parts = urlsplit(record.base_url)
        if parts.hostname:
            labels["server.address"] = parts.hostname
            labels["server.port"] = parts.port or (80 if parts.scheme == "http" else 443)
    return labels


def _error_type(record: StreamEnded) -> str | None:
    if isinstance(record, StreamFailed):
        return record.error.kind
    if isinstance(record, StreamCancelled) and record.reason not in _WANTED:
        return record.reason
    return None


def _outcome(record: StreamEnded, *, is_model: bool) -> Attributes:
    attributes: Attributes = {"puckstream.attempt": record.attempt}
    if isinstance(record, StreamCancelled):
        attributes["puckstream.cancel.reason"] = record.reason
    if not is_model:
        return attributes
    usage = record.usage
    said = {
        "gen_ai.response.time_to_first_chunk": record.time_to_first_chunk,
        "gen_ai.usage.input_tokens": usage.input,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.reasoning.output_tokens": usage.thinking,
        "puckstream.usage.estimated": usage.estimated or None,
    }
    if isinstance(record, StreamStopped):
        response = record.response
        said["gen_ai.response.id"] = response.metadata.get("response_id")
        if response.finish_reason is not None:
            attributes["gen_ai.response.finish_reasons"] = [response.finish_reason]
    return attributes | {name: value for name, value in said.items() if value is not None}


# ------------------------------------------------------------------------------ what was said


def _message(message: Message) -> dict[str, Any]:
    """Return a turn in the form of the conventions; of pictures and files only that they exist."""
    content = message.get("content")
    if message.get("role") == "tool":
        result = {"type": "tool_call_response", "id": message.get("tool_call_id")}
        return {"role": "tool", "parts": [result | {"response": content}]}
    parts: list[dict[str, Any]] = []
    if isinstance(content, str):
        parts.append({"type": "text", "content": content})
    elif content:
        parts += map(_part, content)
    for call in message.get("tool_calls") or ():
        function: Mapping[str, Any] = call.get("function") or {}
        parts.append(_call(call.get("id"), function.get("name"), function.get("arguments")))
    return {"role": message.get("role"), "parts": parts}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "content": part.get("text")}
    return {"type": part.get("type")}


def _call(call_id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}


def _output(record: StreamStopped | StreamFailed | StreamCancelled) -> list[dict[str, Any]]:
    if not isinstance(record, StreamStopped):
        text = {"type": "text", "content": record.content}
        reason = "error" if isinstance(record, StreamFailed) else "cancelled"
        return [{"role": "assistant", "parts": [text], "finish_reason": reason}]
    response: Response = record.response
    parts: list[dict[str, Any]] = []
    if response.thinking:
        parts.append({"type": "reasoning", "content": response.thinking})
    if response.text:
        parts.append({"type": "text", "content": response.text})
    parts += [_call(call.id, call.name, call.arguments) for call in response.tool_calls]
    return [{"role": "assistant", "parts": parts, "finish_reason": response.finish_reason}]


def _said(name: str, messages: Callable[[], Iterable[dict[str, Any]]]) -> Attributes:
    """Return the attribute ``name``; nothing if it cannot be made: the span is worth more."""
    try:
        return {name: json.dumps([*messages()], ensure_ascii=False, default=str)}
    except Exception:
        logger.exception("%s is left out of a span", name)
        return {}
