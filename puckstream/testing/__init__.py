"""Helpers for the tests of programs that stream: a scripted model with a real socket."""

from puckstream.testing.builtin_scripts import BUILTIN_SCRIPTS
from puckstream.testing.model_server import ModelServer
from puckstream.testing.record import Record
from puckstream.testing.script import Fault, Script, ToolCall, load_scripts

__all__ = [
    "BUILTIN_SCRIPTS",
    "Fault",
    "ModelServer",
    "Record",
    "Script",
    "ToolCall",
    "load_scripts",
]
