"""A stream whose function asks one model for a draft and another to go over it."""

import asyncio

import puckstream as puck

QUESTION = "Why is the sky blue?"


def reviewed(writer, reviewer):
    """Return a source: an async function of ``emit``."""

    async def source(emit):
        draft = []
        # The connection belongs to this function: it closes when the stream is cancelled.
        async with writer.stream(QUESTION) as chunks:
            async for chunk in chunks:
                if chunk.type == "content":
                    draft.append(chunk.content)
                    emit(puck.Chunk("thinking", chunk.content))
        emit(f"[{len(''.join(draft).split())} words drafted] ")

        question = puck.Context().user(QUESTION).assistant("".join(draft))
        async with reviewer.stream("Shorter, please.", question) as chunks:
            async for chunk in chunks:
                emit(chunk)
        return puck.Done(context=question.user("Shorter, please."))

    return source


class Progress(puck.Handler):
    """Runs beside the stream; nothing it does can disturb it."""

    async def on_start(self, stream_id, info):
        return {"stream": stream_id, "by": info.provider or "a function", "chars": 0}

    async def on_chunk(self, chunk, state):
        return state | {"chars": state["chars"] + len(chunk.content)}

    async def on_done(self, event, state):
        print(f"handler: {state['chars']} characters by {state['by']}, then {event.kind}")

    async def on_cancel(self, event, state):
        print(f"handler: {event.reason} after {state['chars']} characters")


async def main():
    writer, reviewer = puck.Client("scripted:story"), puck.Client("scripted:echo")
    async with puck.Node(limits=puck.Limits(streams=100, queue=20)) as node:
        source, progress = reviewed(writer, reviewer), Progress()
        stream = await node.start_stream(source, handler=progress, timeout=60)
        result = await stream.result()
        print(f"thought {len(result.thinking.split())} words, said {result.content!r}")

        # Whatever the function has open ends with its stream.
        stuck = await node.start_stream(reviewed(puck.Client("scripted:stall"), reviewer))
        async with stuck.subscribe() as events:
            async for event in events:
                if event.kind == "thinking":
                    closed = await stuck.cancel(wait=True)  # the model's connection too
                    print(f"cancel: {closed}")
                    break


asyncio.run(main())
