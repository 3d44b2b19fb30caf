"""Keeps programs from logging errors that a campaign causes on purpose."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly(name: str, level: int) -> Iterator[None]:
    """Silence the logger ``name`` below ``level``; restore it afterwards."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
