"""A stream need not be a model: functions are supervised, followed and cancelled alike."""

import puckstream as puck


async def countdown():
    """An async generator of text or chunks."""
    for number in (3, 2, 1):
        yield f"{number} "


async def two_models(emit):
    """An async function that asks one model after the other."""
    async with puck.Node() as node:  # any puckstream code works in here
        for model in ("scripted:echo", "scripted:story"):
            stream = await node.start_stream(puck.Client(model), "Good evening.")
            answer = await stream.result()
            emit(f"[{model}] {len(answer.content.split())} words\n")


def blocking(emit):
    """A blocking function: it runs in a thread, and a cancel stops it at its next emit."""
    for line in ("one\n", "two\n"):
        emit(line)


def broken(emit):
    """A function that fails: its stream ends with an error, and nothing else does."""
    emit("so far so good")
    raise RuntimeError("no more ideas")


with puck.Node() as node:
    for function in (countdown, two_models, blocking):
        stream = node.start_stream(function).get()
        print(function.__name__, repr(stream.result().get().content))

    stream = node.start_stream(broken).get()
    for event in stream.subscribe():
        print(event.kind, event.content if isinstance(event, puck.ErrorEvent) else "")
