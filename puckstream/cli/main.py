"""``puckstream``: chat with a model, see the demo, run a scripted model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from puckstream.cli import chat, demo, model
from puckstream.errors import PuckstreamError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit status: 0, 1 for a failure told in one line on standard error, 130 after Ctrl-C.

    Raises:
        SystemExit: with 2, if the arguments make no sense; with 0, for ``--help``.
    """
    parser = argparse.ArgumentParser(
        prog="puckstream", description="Actors under supervision, streaming AI model output."
    )
    subparsers = parser.add_subparsers(metavar="command", required=True)
    for command in (chat, demo, model):
        command.add_parser(subparsers)
    args = parser.parse_args(argv)
    try:
        status: int = args.run(args)
    except PuckstreamError as error:
        print(f"puckstream: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read has gone; what is still buffered must not be written at the exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
