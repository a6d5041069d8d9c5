"""OpenAI's own SDK talks to a scripted model: no key, no network.

    python examples/openai_sdk_against_model.py

Needs the package ``openai``. The same works across processes: run ``puckstream model`` and set
``OPENAI_BASE_URL`` to what it prints.
"""

import asyncio

import openai

from puckstream.testing import Fault, ModelServer, Script


async def main() -> None:
    scripts = {
        "calm": Script(text="The lamp is lit, the harbour is quiet.", rate=40),
        "storm": Script(text="The lamp is", rate=40, fault=Fault("cut", after=3)),
    }
    async with (
        ModelServer(scripts) as server,
        openai.AsyncOpenAI(base_url=server.url, api_key="none") as client,
    ):
        for model in scripts:
            stream = await client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": "How is the harbour?"}],
                stream=True,
            )
            try:
                async for chunk in stream:
                    print(chunk.choices[0].delta.content or "", end="", flush=True)
            except openai.APIError as error:
                print(f"… {type(error).__name__}", end="")
            print()
        for record in server.records:
            print(record)


asyncio.run(main())
