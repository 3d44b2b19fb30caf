"""The command ``crl``; ``command_table`` says which file each command is in.

Data goes to stdout, everything else to stderr; every error has a hint.
"""

from crl_stream.cli.application import main

__all__ = ["main"]
