r"""Texts of strangers on the operator's terminal: what would act there, or show something else, is shown as it is.

An escape sequence can clear the screen, set its title or type into it; a bidirectional mark makes text read backwards;
a character without width hides in a name.  Each is printed as the escape that names it: ``\x1b``, ``\u202e``.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""How a line of our logs is laid out."""
_NOT_IN_JSON: Final = "[\\x7f-\\U0010ffff]"
"""Compiled when it is needed: that takes longer than anything else here."""


def visible(text: str) -> str:
    """The text with every character that cannot be seen escaped, line feeds too."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def visible_lines(text: str) -> str:
    """The same for a text of several lines: its line feeds stay."""
    return "\n".join(map(visible, text.split("\n")))


class VisibleFormatter(logging.Formatter):
    """For every handler of ours: a line of a log is one line, whatever a stranger's text in it would do."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """The line; a line feed in it is shown as an escape, so that no text can look like a line of its own."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        """A traceback keeps its lines."""
        return visible_lines(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the name is logging's
        """So does a stack."""
        return visible_lines(super().formatStack(stack_info))


def escape_json(document: bytes) -> bytes:
    """A JSON document that says exactly the same, and has no character in it that cannot be seen.

    JSON escapes only the first 32 characters by itself; beyond ASCII all of them stand within strings.
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
