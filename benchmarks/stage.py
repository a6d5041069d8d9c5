"""The process a subject runs in: ``python -m benchmarks.stage WORKLOAD SUBJECT``.

It takes a size per line on stdin, does one turn of that size, and answers with a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from benchmarks import catalogue, gauge

__all__: list[str] = []


def main(workload_name: str, subject_name: str) -> None:
    """Serve turns until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    workload = catalogue.load(workload_name)
    subject = next(one for one in workload.subjects if one.name == subject_name)
    for line in sys.stdin:
        gauge.settle()
        try:
            answer: object = {"sample": dict(subject.run(int(line)))}
        except Exception as error:  # noqa: BLE001  # a subject that fails is a row of the table
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno}"
            answer = {"error": f"{type(error).__name__}: {error} ({place})"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
