"""Names from other systems as the names that crl-stream allows.

Other systems allow any text, such as ``Math Tutor``. ``mended`` changes a name as error messages suggest:
``Math-Tutor``. It refuses a name of which nothing would be left, or which is too long, because different names could
then become the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from crl_stream.bridges.mapping import Fault
from crl_stream.core.identity import is_identifier, suggest_identifier
from crl_stream.wire import reasons

_LONGEST: Final = 128
_UNNAMED: Final = suggest_identifier("")


def mended(text: str) -> str | None:
    """Return the nearest allowed name of ``text``; None if there is none."""
    if is_identifier(text):
        return text
    if len(text) > _LONGEST:
        return None
    found = suggest_identifier(text)
    return None if found == _UNNAMED else found


def mended_all(found: Mapping[str, tuple[str | None, str]], where: str) -> dict[str, Any] | Fault:
    """Return names that the log accepts, by field, or the first fault.

    Each name in ``found`` comes with what to say if there is none; ``where`` is what messages to people call its place.
    """
    names = dict[str, Any]()
    for field, (text, missing) in found.items():
        if text is None:
            return Fault(reasons.MISSING_FIELD, f"{field}: {missing}")
        name = mended(text)
        if name is None:
            return Fault(reasons.BAD_IDENTIFIER, f"{field}: {where} has a name that cannot be mended: {text[:60]!r}")
        names[field] = name
    return names


def text_in(value: Any) -> str | None:
    """Return a value as text: text that is not empty, or a whole number, such as a version; None for anything else."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return None


def bounded(value: Any, longest: int) -> str | None:
    """Return the text of a value, cut to ``longest`` characters; None if it has none or cannot be encoded."""
    text = text_in(value)
    if text is None:
        return None
    return text[:longest].encode("utf-8", "replace").decode()


def derived_id(prefix: str, *named: object) -> str:
    """Return an id that depends only on ``named``, so that a repeated record gives the same one."""
    text = "\0".join(map(str, named))
    return f"{prefix}-{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
