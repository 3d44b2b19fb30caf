"""What programs say of the trouble that a campaign makes on purpose is no news."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly(name: str, level: int) -> Iterator[None]:
    """Let the logger ``name`` say nothing below ``level``; afterwards it is as it was."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
