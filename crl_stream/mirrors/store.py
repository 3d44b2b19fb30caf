"""What a prompt store can do, and how it can fail."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Protocol

from crl_stream.core.messages.mirrors import PromptStore
from crl_stream.core.mirroring.label import Seen

NAMED: Final = re.compile(r"by-(?P<name>[A-Za-z0-9_.@-]{1,64})")
"""A second label at the same version, by which a person who moves a label can give a name: ``by-alice``."""

VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")


class Silent(Exception):
    """The store does not answer, or refuses our credentials: the request is repeated later."""


class Refused(Exception):
    """The store answers that it will not move the label, for example because there is no such version."""


class LabelStore(Protocol):
    """The labels of one prompt store."""

    name: PromptStore
    label: str
    """The label that follows the active variants."""

    async def look(self, prompt: str) -> Seen:
        """Return where the label of a prompt is; raise ``Silent`` if the store does not answer."""

    async def move(self, prompt: str, version: str) -> None:
        """Move the label; raise ``Refused``, or ``Silent``, after which it is unknown whether it was moved."""

    async def close(self) -> None:
        """Close the connections."""


def names_in(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the people who are named by labels such as ``by-alice``."""
    return tuple(sorted({found["name"] for label in labels if (found := NAMED.fullmatch(label))}))
