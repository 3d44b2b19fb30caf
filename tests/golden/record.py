"""Record the golden outputs again: ``python -m tests.golden.record``, from the root of the repository.

Do this only if a change of behaviour is intended; then describe it in the changelog and increase ``ENGINE_VERSION``.
The recorded hour is not changed, so it still covers records of earlier engines.  ``--hour`` rewrites the hour too; use
it when the hour has to cover something new.
"""

from __future__ import annotations

import argparse

from .fold import fold_hour
from .hour import write_hour
from .storage import INPUTS, OUTPUTS, read_inputs, write_inputs, write_outputs


def main() -> None:
    """Fold the hour and store the outputs."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.record", description=__doc__)
    parser.add_argument("--hour", action="store_true", help="also rewrite the recorded hour")
    if parser.parse_args().hour:
        write_inputs(write_hour().inputs)
    inputs = read_inputs()
    write_outputs(fold_hour(inputs, len(inputs)))
    for path in (INPUTS, OUTPUTS):
        print(f"{path.name}: {path.stat().st_size:,} bytes")  # noqa: T201 - this is its output


if __name__ == "__main__":
    main()
