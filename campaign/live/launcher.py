"""Run a modified worker.

    python -m campaign.live.launcher [--die POINT:N] [--stall POINT:N] [--without GUARD] worker ...

The worker is the product's own ``crl``, but it dies or pauses at a given line, or lacks one of its guards.
"""

from __future__ import annotations

import argparse
import signal
import sys

from campaign.live.guards import GUARDS, drop_batch, remove, slow_outputs, tell_recovery, tell_tasks
from campaign.live.points import POINTS, arm
from crl_stream.cli import main as crl

_SIGNS = {"die": signal.SIGKILL, "stall": signal.SIGSTOP}


def main(words: list[str]) -> None:
    """Apply the modifications, then run ``crl``."""
    parser = argparse.ArgumentParser(prog="python -m campaign.live.launcher", description=__doc__)
    parser.add_argument("--die", action="append", default=[], metavar="POINT:N", help=f"one of {', '.join(POINTS)}")
    parser.add_argument("--stall", action="append", default=[], metavar="POINT:N", help="the same with SIGSTOP")
    parser.add_argument("--without", action="append", default=[], metavar="GUARD", help=f"one of {', '.join(GUARDS)}")
    parser.add_argument("--drop", type=int, metavar="N", help="drop the N-th batch before it reaches its lane")
    parser.add_argument("--slow", type=float, metavar="SECONDS", help="delay each write of outputs")
    parser.add_argument("--tell-tasks", action="store_true", help="log the number of asyncio tasks regularly")
    parser.add_argument("--tell-recovery", action="store_true", help="report what is recovered")
    options, rest = parser.parse_known_args(words)
    for guard in options.without:
        remove(guard)
    if options.drop:
        drop_batch(options.drop)
    if options.slow:
        slow_outputs(options.slow)
    if options.tell_recovery:
        tell_recovery()
    if options.tell_tasks:
        tell_tasks()
    for what, sign in _SIGNS.items():
        for each in getattr(options, what):
            name, _, number = each.partition(":")
            arm(name, int(number or 1), sign)
    crl(rest)


if __name__ == "__main__":
    main(sys.argv[1:])
