"""Replaces markup characters in untrusted text with look-alikes that mean nothing to chat and mail services.

An actor, a reason or an error may be text that a person typed. It must not notify a whole chat, become HTML in a mail,
or become a link that hides its target.  One table serves all services: a character that is markup in any of them is
replaced.  The characters of commands (letters, digits, ``._:-/``) stay, so that commands can be copied.  Therefore a
bare name like ``evil.com`` stays too; it may be the name of an agent.  Pure.
"""

from __future__ import annotations

import re
from typing import Final

_LOOK_ALIKE: Final = str.maketrans(
    {
        # The brackets of HTML and of Slack's <!channel>, <@user> and <link|text> become single angle quotation marks.
        "<": "\u2039",
        ">": "\u203a",
        # The signs of @everyone, @here and @user, of #channel and of HTML entities become full-width forms.
        "@": "\uff20",
        "#": "\uff03",
        "&": "\uff06",
        # The brackets of [text](link) become white square brackets.
        "[": "\u27e6",
        "]": "\u27e7",
        # Code, bold, strikethrough and spoilers; the escape character.
        "`": "\u02cb",
        "*": "\u2217",
        "~": "\u223c",
        "|": "\u00a6",
        "\\": "\uff3c",
    }
)
_LINK: Final = re.compile(r"(?i)(?:[a-z][a-z0-9+.-]*:(?=//)|www\.|mailto:|tel:|javascript:|data:)\S+")


def plain(text: str) -> str:
    """Return the text without anything that a service would act on; people can read it as before."""
    return _LINK.sub(_without_link, text).translate(_LOOK_ALIKE)


def _without_link(found: re.Match[str]) -> str:
    # The replacements are division slashes, a triangular colon and one-dot leaders.
    return found[0].replace("//", "\u2215\u2215").replace(":", "\u02d0").replace(".", "\u2024")
