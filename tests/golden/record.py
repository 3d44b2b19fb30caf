"""Take the golden outputs afresh: ``python -m tests.golden.record``, from the root of the repository.

Only when a change of behaviour is meant: then the difference belongs into the changelog, and ``ENGINE_VERSION`` grows.
The recorded hour stays as it is, and so does what it shows of earlier engines.  ``--hour`` writes that afresh too, when
there is something new that it has to meet.
"""

from __future__ import annotations

import argparse

from .fold import fold_hour
from .hour import write_hour
from .storage import INPUTS, OUTPUTS, read_inputs, write_inputs, write_outputs


def main() -> None:
    """Fold the hour and store what it comes to."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.record", description=__doc__)
    parser.add_argument("--hour", action="store_true", help="write the recorded hour afresh, too")
    if parser.parse_args().hour:
        write_inputs(write_hour().inputs)
    inputs = read_inputs()
    write_outputs(fold_hour(inputs, len(inputs)))
    for path in (INPUTS, OUTPUTS):
        print(f"{path.name}: {path.stat().st_size:,} bytes")  # noqa: T201 - this is its output


if __name__ == "__main__":
    main()
