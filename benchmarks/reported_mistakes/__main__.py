"""Score the programs: ``python -m benchmarks.reported_mistakes [--split reports] [--names ...] [--seeds 0]``.

``--verify`` trains each program without the monitor, and the failing ones also without their mistake.
"""

from __future__ import annotations

import json
import logging
from argparse import ArgumentParser
from pathlib import Path

from benchmarks.reported_mistakes.registry import SPLITS, load_programs
from benchmarks.reported_mistakes.verification import verify


def main():
    """Read the command line, train the programs and print the table."""
    parser = ArgumentParser(prog="python -m benchmarks.reported_mistakes")
    parser.add_argument("--split", choices=tuple(SPLITS), default="unread", help="default: unread")
    parser.add_argument("--names", nargs="*", help="the programs, of any split; all of one without this")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--save", type=Path, help="write all that was said to this JSON file")
    parser.add_argument(
        "--verify", action="store_true", help="train without the monitor, with and without the mistakes"
    )
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    programs = load_programs() if arguments.names else load_programs(arguments.split)
    chosen = [programs[name] for name in arguments.names or programs]
    if arguments.verify:
        verify(chosen, arguments.seeds)
        return
    from benchmarks.reported_mistakes import scoring  # The verification must not import what it verifies.

    scores = []
    print(scoring.HEADER)
    for program in chosen:
        for seed in arguments.seeds:
            scores.append(scoring.score(program, seed))
            print(scoring.row(scores[-1]), flush=True)
            if arguments.save:
                arguments.save.write_text(json.dumps(scoring.record(scores), indent=1))
    print(json.dumps(scoring.totals(scores)))


if __name__ == "__main__":
    main()
