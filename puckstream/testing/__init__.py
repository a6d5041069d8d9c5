"""Helpers for tests: a scripted model with a real socket, virtual time, probes, leaked actors.

`BackendContract` checks a model provider of one's own, against an `Upstream` that says what it is
told to.
"""

from puckstream.testing.backend_contract import BackendContract
from puckstream.testing.builtin_scripts import BUILTIN_SCRIPTS
from puckstream.testing.clock import VirtualClock
from puckstream.testing.leaks import live_actors
from puckstream.testing.model_server import ModelServer
from puckstream.testing.probe import Probe
from puckstream.testing.record import Record
from puckstream.testing.script import Fault, Script, ToolCall, load_scripts
from puckstream.testing.upstream import Upstream

__all__ = [
    "BUILTIN_SCRIPTS",
    "BackendContract",
    "Fault",
    "ModelServer",
    "Probe",
    "Record",
    "Script",
    "ToolCall",
    "Upstream",
    "VirtualClock",
    "live_actors",
    "load_scripts",
]
