"""Runs the command ``crl`` for ``python -m crl_stream``."""

from crl_stream.cli import main

if __name__ == "__main__":
    main()
