"""The scripts every scripted model knows by name, e.g. ``scripted:slow`` or ``model="slow"``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from puckstream.testing.script import Fault, Script, ToolCall

__all__ = ["BUILTIN_SCRIPTS"]

_STORY = """\
The keeper of the harbour lamp had one rule: somebody must always know.

When the lamp went out she did not climb the tower to mend it. She rang the bell once, so that the \
pilots knew, and then she lit the spare. Mending came in the morning, by daylight, with both hands \
free. A lamp that is mended in the dark, she used to say, goes out twice.

One winter three lamps went out in a single night. She rang, lit the spare, rang, lit the other \
spare, and rang again; and then she stopped ringing and walked down to the quay in her coat. Three \
in a night is not bad luck, she told the harbour master. Three in a night is bad oil, and I will \
not burn any more of it. So he woke the town, and they rowed out to the ships with lanterns, and \
nobody was lost.

They asked her afterwards how she had known that it was time to stop. She said that she had not \
known anything. She had counted. Anyone can count to three, and the clock on the tower does the \
rest; what takes practice is to go and wake somebody when the count is full.

The oil merchant was not pleased. He said that his oil had burned well in other harbours. Perhaps, \
she said, but here it did not, and a ship on the rocks does not ask where else the lamp was bright.

In spring a young man came to learn the trade. He wanted to know about lenses and wicks. She gave \
him the bell rope. First this, she said. Everything else in this tower can be replaced.
"""

_SHORT = "Every stream ends once, with a word of its own. "

BUILTIN_SCRIPTS: Mapping[str, Script] = MappingProxyType(
    {
        "echo": Script(echo=True),
        "story": Script(text=_STORY, rate=60.0, delay=0.15),
        "fast": Script(text=_STORY),
        "slow": Script(text=_STORY, rate=5.0, delay=0.5),
        "thinking": Script(
            thinking="The question is short. So is the answer, if I look at it from the end. ",
            text="Because somebody must always know.",
            rate=40.0,
        ),
        "tool": Script(
            text="I will look that up. ",
            tool_calls=(
                ToolCall("get_weather", '{"city": "Lisbon", "unit": "celsius"}', "call_1"),
            ),
            rate=40.0,
        ),
        "refusal": Script(refusal="I would rather not say."),
        "empty": Script(),
        "stall": Script(text=_STORY, rate=60.0, fault=Fault("stall", after=20)),
        "stall-before-head": Script(text=_STORY, fault=Fault("stall", after=None)),
        "stall-before-token": Script(text=_STORY, fault=Fault("stall", after=0)),
        "cut": Script(text=_STORY, rate=60.0, fault=Fault("cut", after=20)),
        "cut-before-head": Script(text=_STORY, fault=Fault("cut", after=None)),
        "rate-limited": Script(
            fault=Fault(
                "status",
                status=429,
                message="Rate limit reached: one harbour, one lamp.",
                type="rate_limit_error",
                retry_after=1,
            )
        ),
        "overloaded": Script(
            fault=Fault("status", status=503, message="All lamps are lit.", type="overloaded_error")
        ),
        "broken": Script(fault=Fault("status", status=500, message="The lamp went out.")),
        "unauthorized": Script(
            fault=Fault(
                "status",
                status=401,
                message="Incorrect API key provided.",
                type="invalid_api_key",
            )
        ),
        "error-after-200": Script(
            text=_SHORT * 3,
            rate=60.0,
            fault=Fault("error", after=8, message="The oil ran out.", type="overloaded_error"),
        ),
        "malformed": Script(text=_SHORT * 3, rate=60.0, fault=Fault("malformed", after=8)),
    }
)
"""``story`` is what a model name that names no script gets."""
