#!/usr/bin/env python3
"""The command with which the guide opens the safety dashboard; it runs ``crl dashboard``."""

from __future__ import annotations

import sys

from crl_stream.cli import main

main(["dashboard", *sys.argv[1:]])
