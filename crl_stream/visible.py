r"""Makes untrusted text safe on a terminal by showing control and invisible characters as escapes.

An escape sequence can clear the screen, set the terminal's title or type text into it. A bidirectional mark makes text
read backwards.  A zero-width character hides in a name.  Each is printed as its escape: ``\x1b``, ``\u202e``.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""The format of our log lines."""
_NOT_IN_JSON: Final = "[\\x7f-\\U0010ffff]"
"""A pattern that is compiled on first use, because compiling it takes longer than anything else in this module."""


def visible(text: str) -> str:
    """Escape every invisible character in ``text``, including line feeds."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def visible_lines(text: str) -> str:
    """Escape every invisible character in a text of several lines, keeping its line feeds."""
    return "\n".join(map(visible, text.split("\n")))


class VisibleFormatter(logging.Formatter):
    """A formatter that keeps each log line on one line, whatever texts it contains."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """Format the line, escaping line feeds, so that no text can look like a separate line."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        """Format a traceback, keeping its lines."""
        return visible_lines(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the name is logging's
        """Format a stack, keeping its lines."""
        return visible_lines(super().formatStack(stack_info))


def escape_json(document: bytes) -> bytes:
    """Return an equivalent JSON document without invisible characters.

    JSON encoders escape only the control characters below U+0020. Characters beyond ASCII occur only within strings.
    """
    if document.isascii() and b"\x7f" not in document:
        return document
    return re.sub(_NOT_IN_JSON, _in_json, document.decode()).encode()


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _in_json(found: re.Match[str]) -> str:
    if found[0].isprintable():
        return found[0]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
