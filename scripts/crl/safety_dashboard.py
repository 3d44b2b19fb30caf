#!/usr/bin/env python3
"""The guide's own command for the safety dashboard: ``crl dashboard`` by its first name."""

from __future__ import annotations

import sys

from crl_stream.cli import main

main(["dashboard", *sys.argv[1:]])
