"""OpenTelemetry: spans and metrics after the conventions for generative AI, under every end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import puckstream as puck
from puckstream.otel import instrument
from puckstream.testing.clock import VirtualClock
from tests.streams.upstream import WAIT, Upstream, busy

FINISH = puck.Chunk(
    "finish",
    "",
    {
        "usage": puck.Usage(input=7, output=3, thinking=1),
        "model": "upstream-1-0613",
        "response_id": "r-1",
        "finish_reason": "stop",
    },
)


class Collector:
    """Where spans and measurements go."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)

    def instrument(self, node: puck.Node, **options: Any) -> Any:
        return instrument(node, tracer_provider=self.tracers, meter_provider=self.meters, **options)

    @property
    def spans(self) -> list[Any]:
        """The spans that have ended, in the order of their ends."""
        return list(self._spans.get_finished_spans())

    @property
    def span(self) -> Any:
        (span,) = self.spans
        return span

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in ([] if data is None else data.resource_metrics)
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def close(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1000.0)


def ask(node: puck.Node, upstream: Upstream, **options: Any) -> puck.Reply[puck.Stream]:
    return node.start_stream(puck.Client(upstream), "a question", **options)


def kill(node: puck.Node, stream: puck.Stream) -> None:
    owner = node._shelf.get(stream.id, 0.0).owner
    owner.kill()


# --------------------------------------------------------------------------------------- spans


async def test_a_model_call_is_a_client_span_with_the_attributes_of_the_conventions(
    collector: Collector, clock: VirtualClock
) -> None:
    upstream = Upstream((WAIT, "hello", FINISH))
    upstream.base_url = "https://models.example/v1"  # type: ignore[attr-defined]
    async with puck.Node(clock=clock) as node:
        collector.instrument(node)
        stream = await ask(node, upstream, stream_id="one")
        await clock.elapse(0.5)
        upstream.gate.open()
        await stream.wait()
    span = collector.span
    assert (span.name, span.kind) == ("chat upstream-1", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "upstream",
        "gen_ai.request.model": "upstream-1",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "upstream-1-0613",
        "gen_ai.response.id": "r-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.5,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "server.address": "models.example",
        "server.port": 443,
        "puckstream.stream.id": "one",
        "puckstream.attempt": 1,
    }


async def test_12_a_cancel_ends_the_span_and_is_no_error(collector: Collector) -> None:
    async with puck.Node() as node:
        collector.instrument(node)
        stream = await ask(node, Upstream(("part", WAIT)))
        await VirtualClock.settle()
        assert collector.spans == []
        await stream.cancel()
        span = collector.span
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["puckstream.cancel.reason"] == "user"
    assert span.attributes["puckstream.usage.estimated"] is True
    assert "error.type" not in span.attributes


async def test_12_a_killed_stream_actor_ends_the_span_as_an_error(collector: Collector) -> None:
    async with puck.Node() as node:
        collector.instrument(node)
        stream = await ask(node, Upstream((WAIT,)))
        await VirtualClock.settle()
        kill(node, stream)
        await stream.wait()
        span = collector.span
    assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "killed")


async def test_12_the_shutdown_of_the_node_ends_every_span(collector: Collector) -> None:
    async with puck.Node() as node:
        collector.instrument(node)
        for _ in range(5):
            await ask(node, Upstream((WAIT,)))
    assert len(collector.spans) == 5
    reasons = {span.attributes["puckstream.cancel.reason"] for span in collector.spans}
    assert reasons == {"shutdown"}


async def test_12_a_clock_that_runs_out_is_an_error(
    collector: Collector, clock: VirtualClock
) -> None:
    async with puck.Node(clock=clock) as node:
        collector.instrument(node)
        await ask(node, Upstream((WAIT,)), timeout=puck.Timeout(first=2.0))
        await clock.elapse(2.0)
    assert collector.span.attributes["error.type"] == "timeout_first"
    assert collector.span.status.status_code is StatusCode.ERROR


async def test_a_failure_ends_the_span_with_its_kind(collector: Collector) -> None:
    async with puck.Node() as node:
        collector.instrument(node)
        stream = await ask(node, Upstream((busy(),)))
        await stream.wait()
    span = collector.span
    assert span.attributes["error.type"] == "overloaded"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "overloaded")


async def test_a_retry_is_an_event_and_the_last_attempt_names_the_model(
    collector: Collector, clock: VirtualClock
) -> None:
    first = Upstream((busy(),), provider="first")
    first.base_url = "http://first.example"  # type: ignore[attr-defined]
    second = Upstream(("fine",), provider="second")
    async with puck.Node(clock=clock) as node:
        collector.instrument(node)
        stream = await ask(node, first, fallback=[puck.Client(second)])
        await stream.wait()
    span = collector.span
    (event,) = span.events
    assert (event.name, event.attributes["error.type"]) == ("retrying", "overloaded")
    assert span.attributes["gen_ai.provider.name"] == "second"
    assert span.attributes["gen_ai.request.model"] == "second-1"
    assert "server.address" not in span.attributes
    assert span.attributes["puckstream.attempt"] == 2


async def test_the_span_that_is_current_at_the_start_is_the_parent(collector: Collector) -> None:
    tracer = trace.get_tracer("test", tracer_provider=collector.tracers)
    async with puck.Node() as node:
        collector.instrument(node)
        with tracer.start_as_current_span("request") as request:
            stream = await ask(node, Upstream(("a",)))
        await stream.wait()
        alone = await ask(node, Upstream(("a",)))
        await alone.wait()
    spans = {span.context.span_id: span for span in collector.spans}
    children = [span for span in spans.values() if span.name.startswith("chat")]
    assert [span.parent and span.parent.span_id for span in children] == [
        request.get_span_context().span_id,
        None,
    ]


def test_the_parent_of_a_stream_started_in_a_thread_is_that_threads_span(
    collector: Collector,
) -> None:
    tracer = trace.get_tracer("test", tracer_provider=collector.tracers)
    with puck.Node() as node:
        collector.instrument(node)
        with tracer.start_as_current_span("view") as view:
            ask(node, Upstream(("a",))).get().wait().get()
    chat = next(span for span in collector.spans if span.name.startswith("chat"))
    assert chat.parent.span_id == view.get_span_context().span_id


async def test_what_a_function_starts_is_below_the_span_of_its_stream(
    collector: Collector,
) -> None:
    async with puck.Node() as node:
        collector.instrument(node)

        async def outer(emit: Any) -> None:
            inner = await ask(node, Upstream(("a", FINISH)))
            emit((await inner.result()).content)

        await (await node.start_stream(outer)).wait()
    chat, stream = collector.spans
    assert (stream.name, stream.kind, stream.parent) == ("stream", SpanKind.INTERNAL, None)
    assert chat.parent.span_id == stream.context.span_id
    assert not [name for name in stream.attributes if name.startswith("gen_ai")]
    assert len(collector.points("gen_ai.client.operation.duration")) == 1


async def test_a_span_of_the_functions_own_comes_before_that_of_its_stream(
    collector: Collector,
) -> None:
    tracer = trace.get_tracer("test", tracer_provider=collector.tracers)
    async with puck.Node() as node:
        collector.instrument(node)

        async def outer(_emit: Any) -> None:
            with tracer.start_as_current_span("step"):
                await (await ask(node, Upstream(("a",)))).wait()

        await (await node.start_stream(outer)).wait()
    spans = {span.name: span for span in collector.spans}
    assert spans["chat upstream-1"].parent.span_id == spans["step"].context.span_id


async def test_no_span_is_current_in_the_code_around_a_stream(collector: Collector) -> None:
    """Nothing is attached, so nothing can be detached in the wrong context."""
    seen: list[bool] = []

    async def source(emit: Any) -> None:
        seen.append(trace.get_current_span().get_span_context().is_valid)
        emit("a")

    async with puck.Node() as node:
        collector.instrument(node)
        await (await node.start_stream(source)).wait()
        seen.append(trace.get_current_span().get_span_context().is_valid)
    assert seen == [False, False]


async def test_ending_it_ends_the_spans_that_are_open_and_begins_no_more(
    collector: Collector,
) -> None:
    async with puck.Node() as node:
        end = collector.instrument(node)
        stream = await ask(node, Upstream((WAIT,)))
        end()
        end()
        assert len(collector.spans) == 1
        await stream.cancel()
        await ask(node, Upstream(("a",)))
    assert len(collector.spans) == 1


# -------------------------------------------------------------------------------- what was said


async def test_nothing_that_was_said_is_on_a_span_by_default(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", raising=False)
    async with puck.Node() as node:
        collector.instrument(node)
        await (await ask(node, Upstream(("the answer", FINISH)))).wait()
        await (await ask(node, Upstream(("the answer", busy())))).wait()
    said = repr([(dict(span.attributes), span.events) for span in collector.spans])
    assert "a question" not in said
    assert "the answer" not in said


@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_what_was_said_is_captured_when_asked_for(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "environment":
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    call = puck.Chunk("tool_use", '{"q": 1}', {"id": "c1", "name": "look", "index": 0})
    context = puck.Context().user([{"type": "text", "text": "see"}, picture])
    context = context.assistant(None, [puck.ToolCall("c0", "look", "{}")]).tool_result("c0", "dark")
    async with puck.Node() as node:
        collector.instrument(node, **({"capture_content": True} if by == "argument" else {}))
        upstream = Upstream((puck.Chunk("thinking", "hm"), "yes", call, FINISH))
        await (await ask(node, upstream, context=context)).wait()
    attributes = collector.span.attributes
    asked = json.loads(attributes["gen_ai.input.messages"])
    assert asked == [
        {"role": "user", "parts": [{"type": "text", "content": "see"}, {"type": "image_url"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c0", "name": "look", "arguments": "{}"}],
        },
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c0", "response": "dark"}],
        },
        {"role": "user", "parts": [{"type": "text", "content": "a question"}]},
    ]
    (answered,) = json.loads(attributes["gen_ai.output.messages"])
    assert answered["finish_reason"] == "stop"
    assert [part["type"] for part in answered["parts"]] == ["reasoning", "text", "tool_call"]


async def test_a_partial_answer_is_captured_too(collector: Collector) -> None:
    async with puck.Node() as node:
        collector.instrument(node, capture_content=True)
        stream = await ask(node, Upstream(("half", WAIT)))
        await VirtualClock.settle()
        await stream.cancel()
    (said,) = json.loads(collector.span.attributes["gen_ai.output.messages"])
    assert (said["parts"][0]["content"], said["finish_reason"]) == ("half", "cancelled")


# ------------------------------------------------------------------------------------- metrics


async def test_durations_and_tokens_are_measured_with_the_buckets_of_the_conventions(
    collector: Collector, clock: VirtualClock
) -> None:
    upstream = Upstream((WAIT, "a", "b", FINISH))
    async with puck.Node(clock=clock) as node:
        collector.instrument(node)
        stream = await ask(node, upstream)
        await clock.elapse(0.25)
        upstream.gate.open()
        await stream.wait()
    labels = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "upstream",
        "gen_ai.request.model": "upstream-1",
    }
    answered = labels | {"gen_ai.response.model": "upstream-1-0613"}
    (duration,) = collector.points("gen_ai.client.operation.duration")
    assert (duration.sum, duration.count, dict(duration.attributes)) == (0.25, 1, answered)
    (first,) = collector.points("gen_ai.client.operation.time_to_first_chunk")
    assert (first.sum, dict(first.attributes)) == (0.25, labels)
    (gaps,) = collector.points("gen_ai.client.operation.time_per_output_chunk")
    assert gaps.count == 2
    seconds = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)
    assert duration.explicit_bounds == (*seconds, 10.24, 20.48, 40.96, 81.92)
    assert first.explicit_bounds == gaps.explicit_bounds == duration.explicit_bounds
    tokens = collector.points("gen_ai.client.token.usage")
    counted = {point.attributes["gen_ai.token.type"]: point.sum for point in tokens}
    assert counted == {"input": 7, "output": 3}
    assert tokens[0].explicit_bounds[:3] == (1, 4, 16)
    assert tokens[0].explicit_bounds[-1] == 67108864


async def test_every_end_is_measured_and_estimated_tokens_are_not(collector: Collector) -> None:
    async with puck.Node() as node:
        collector.instrument(node)
        await (await ask(node, Upstream(("part", busy())))).wait()
        cancelled = await ask(node, Upstream((WAIT,)))
        await cancelled.cancel()
        killed = await ask(node, Upstream((WAIT,)))
        kill(node, killed)
        await killed.wait()
    durations = collector.points("gen_ai.client.operation.duration")
    ends = {point.attributes.get("error.type"): point.count for point in durations}
    assert ends == {"overloaded": 1, None: 1, "killed": 1}
    assert collector.points("gen_ai.client.token.usage") == []


async def test_chunks_are_not_measured_when_not_asked_for(collector: Collector) -> None:
    async with puck.Node() as node:
        collector.instrument(node, chunk_times=False)
        await (await ask(node, Upstream(("a", "b", FINISH)))).wait()
    assert collector.points("gen_ai.client.operation.time_per_output_chunk") == []
    assert len(collector.points("gen_ai.client.operation.time_to_first_chunk")) == 1


async def test_a_failing_handler_is_an_event_that_quotes_nothing(collector: Collector) -> None:
    class Broken(puck.Handler):
        async def on_chunk(self, chunk: Any, state: Any) -> Any:
            raise ValueError(chunk.content)

    async with puck.Node() as node:
        collector.instrument(node)
        upstream = Upstream(("odd", WAIT))
        stream = await ask(node, upstream, handler=Broken())
        await VirtualClock.settle()
        await stream.cancel()
    (event,) = collector.span.events
    assert event.name == "handler failed"
    assert dict(event.attributes) == {
        "exception.type": "ValueError",
        "puckstream.handler": "on_chunk",
    }


@pytest.mark.parametrize("option", ["capture_content", "chunk_times"])
def test_an_option_that_is_neither_true_nor_false_is_refused_by_name(option: str) -> None:
    with pytest.raises(puck.InvalidOption, match=f"{option}='yes'"):
        instrument(puck.Node(), **{option: "yes"})  # type: ignore[arg-type]


def test_without_a_provider_nothing_is_recorded_and_nothing_fails() -> None:
    """OpenTelemetry's API alone, as the extra ``otel`` installs it; in a fresh interpreter."""
    program = """
import asyncio, sys
import puckstream as puck
from puckstream.otel import instrument

async def source(emit):
    emit("a")

async def main():
    async with puck.Node() as node:
        instrument(node)
        await (await node.start_stream(source)).wait()
    assert "opentelemetry.sdk" not in sys.modules

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("capture", [False, True])
async def test_a_message_is_in_the_status_only_if_content_is_captured(
    collector: Collector, capture: bool
) -> None:
    async def crash(emit: Any) -> None:
        emit("x")
        raise ValueError("SECRET")

    async with puck.Node() as node:
        collector.instrument(node, capture_content=capture)
        await (await node.start_stream(crash)).wait()
    assert ("SECRET" in collector.span.status.description) is capture
    assert capture or collector.span.status.description == "crashed (ValueError)"


async def test_a_turn_that_says_too_little_costs_no_span(collector: Collector) -> None:
    calls = [{"id": "1"}, {"function": None}]
    context = puck.Context([{"role": "assistant", "content": None, "tool_calls": calls}])
    async with puck.Node() as node:
        collector.instrument(node, capture_content=True)
        await (await node.start_stream(puck.Client(Upstream(("a",))), "hi", context)).wait()
    assert "gen_ai.input.messages" in collector.span.attributes
