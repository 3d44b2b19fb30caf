"""Starts the command ``crl``, or says what to install if only the client is installed."""

from __future__ import annotations

import sys
from typing import Final

MISSING: Final = 'crl: only the client is installed here; for the command, run: pip install "crl-stream[worker]"\n'


def main() -> None:
    """Run the command; if its packages are not installed, say in one line what to install."""
    try:
        from crl_stream.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "crl_stream":
            raise
        sys.stderr.write(MISSING)
        raise SystemExit(1) from None
    run()


if __name__ == "__main__":
    main()
