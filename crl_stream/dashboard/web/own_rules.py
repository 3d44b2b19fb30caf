"""Marks the handlers of the dashboard, so that the gate of a worker leaves them to the dashboard's own rules.

The gate is part of every worker process, so this module imports nothing.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

Handler = TypeVar("Handler")
_MARK: Final = "has_rules_of_its_own"


def with_own_rules(handler: Handler) -> Handler:
    """Mark a handler and return it."""
    setattr(handler, _MARK, True)
    return handler


def has_own_rules(handler: Any) -> bool:
    """Return whether a handler was marked."""
    return getattr(handler, _MARK, False) is True
