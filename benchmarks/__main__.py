"""Runs the benchmarks, prints them, and writes `benchmarks/README.md`.

    python -m benchmarks            all of them, and the page
    python -m benchmarks start mlp  only these, printed; the page is left as it is
    python -m benchmarks --page     nothing; the page of what was measured last

Each case names what it measures and has one function for each side. Sides run in processes of their own, in turn,
several times; the median counts. No time is reported unless the sides' results agree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import measuring, network_tables, page, peak_cases
from benchmarks.cases import CASES
from benchmarks.network_cases import CHECKPOINTS, FROZEN, SMALL_CASES
from benchmarks.peak_cases import PEAK_CASES

WORK = Path(__file__).parent / ".work"
ALL = (*CASES, *PEAK_CASES, *FROZEN, *CHECKPOINTS, *SMALL_CASES)


def main() -> None:
    """Runs what the command line names."""
    names = list(dict.fromkeys(case.name for case in ALL))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(names))
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page of what was measured last")
    arguments = parser.parse_args()
    chosen = arguments.cases
    unknown = set(chosen) - set(names)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    if chosen and arguments.page:
        parser.error("--page measures nothing: name no case with it")
    WORK.mkdir(exist_ok=True)
    results, failures = {}, []
    for case in () if arguments.page else ALL:
        if chosen and case.name not in chosen:
            continue
        print(f"… {case.key}", file=sys.stderr, flush=True)
        try:
            measured = measuring.measure(case, WORK)
        except measuring.Failed as failure:
            print(failure, file=sys.stderr, flush=True)
            failures.append(case.key)
            continue
        measured.conditions = page.conditions()
        measuring.keep(case, measured, WORK)
        results[case.key] = measured
        if case.figures:
            print(page.section(case, measured), flush=True)
    for section in (*network_tables.sections(results), *peak_cases.sections(results)):
        print(section)
    if failures:
        sys.exit(f"failed, and not reported: {', '.join(failures)}; the page is left as it is")
    if not chosen:
        page.write({case.key: found for case in ALL if (found := measuring.kept(case, WORK)) is not None})


if __name__ == "__main__":
    main()
