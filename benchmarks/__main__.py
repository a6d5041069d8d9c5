"""``python -m benchmarks [NAME …] [--quick] [--json FILE]``: measure, print a table, write JSON.

It ends with 0 whatever the figures are: they are for reading, not for a build to fail on.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks import catalogue, report
from benchmarks.harness import ROOT, Outcome, measure

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Run the workloads that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure, beside the peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(catalogue.NAMES))
    parser.add_argument("--quick", action="store_true", help="see that it runs, measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default build/bench.json")
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in catalogue.NAMES]
    if unknown:
        parser.error(
            f"no such workload: {', '.join(unknown)}; there are: {', '.join(catalogue.NAMES)}"
        )
    about = report.machine()
    report.print_header(about, quick=args.quick)
    begun = time.perf_counter()
    outcomes: list[Outcome] = []
    for name in args.names or catalogue.NAMES:
        outcomes.append(measure(catalogue.load(name), quick=args.quick))
        report.print_outcome(outcomes[-1])
    report.print_summary(outcomes)
    path = args.json or ROOT / "build" / "bench.json"
    report.write_json(path, about, outcomes)
    print(f"{time.perf_counter() - begun:.0f} s; written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
