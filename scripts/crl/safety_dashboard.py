#!/usr/bin/env python3
"""The command that the guide uses to open the safety dashboard; it runs ``crl dashboard``."""

from __future__ import annotations

import sys

from crl_stream.cli import main

main(["dashboard", *sys.argv[1:]])
