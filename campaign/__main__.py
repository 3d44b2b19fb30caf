"""``python -m campaign simulate|mutants|live|report``: see ``docs/faults.md``."""

from __future__ import annotations

import argparse
import signal
import sys

from campaign.live import program as live
from campaign.simulated import program as simulated


def main(words: list[str] | None = None) -> int:
    """Run the requested command; return 0 if every promise held."""
    parser = argparse.ArgumentParser(prog="python -m campaign", description=__doc__)
    sections = parser.add_subparsers(dest="section", required=True, metavar="SECTION")
    simulated.add_sections(sections)
    live.add_sections(sections)
    options = parser.parse_args(words)
    try:
        code: int = options.run(options)
    except BrokenPipeError:
        return 1
    return code


if __name__ == "__main__":
    # Treat SIGTERM like Ctrl-C, so that the workers and the broker are shut down too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
