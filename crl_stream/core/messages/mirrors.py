"""What the role ``mirror`` knows about the labels of prompt stores; it is kept on the topic ``crl.mirrors``.

A record is written before what it announces is done. The label is moved after ``moving`` is on the topic. The messages
in ``receipt``, ``alert`` and ``command`` are published after the record that holds them.  A process that takes over
publishes them again with the same bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from crl_stream.core.messages.commands import ActivateVariant
from crl_stream.core.messages.facts import Alert, Receipt
from crl_stream.core.messages.parts import Identifier, Timestamp

PromptStore = Literal["langfuse", "mlflow"]
Version = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Moving(msgspec.Struct, frozen=True, kw_only=True):
    """An announced move of the label; only the store shows whether it has happened."""

    version: Version
    at: Timestamp
    overtaken: bool = False
    """Whether the label was correct at another version since then; the move may still happen late."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A person's move of the label, which was turned into a command that is not answered yet."""

    version: Version
    variant_id: Identifier
    command_id: Identifier
    at: Timestamp


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """A label that the mirror leaves alone, because it is not what the mirror left there."""

    found: Version | None
    """The version that the label pointed to; absent if the label was missing."""
    incarnation: int
    epoch: int
    """The epoch in which this was found."""
    reason: str
    problem: bool
    """Whether the label cannot follow the active variant at all, whatever the label points to."""
    alert_id: Identifier
    """Id of the first alert about this conflict; the alert that ends it names this id as its cause."""


class MirrorLabel(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="label"):
    """The label of a task in a prompt store, as the mirror last left it (topic ``crl.mirrors``).

    Readers keep the record with the highest ``revision`` of a key.
    """

    store: PromptStore
    agent_name: Identifier
    task_type: Identifier
    prompt: str
    label: str
    revision: int
    incarnation: int
    epoch: int
    """The last epoch for which the label pointed to the active variant; 0 if there was none yet."""
    left: Version | None
    """The version that the label pointed to when the mirror last left it; absent if there was none yet."""
    previous: Version | None = None
    """The version that the label pointed to before that."""
    settled_at: Timestamp | None = None
    moving: Moving | None = None
    asked: Asked | None = None
    conflict: Conflict | None = None
    credited: dict[str, str] = {}
    """People who named themselves in the store, each with the version where this was last seen."""
    receipt: Receipt | None = None
    """A receipt that is to be published; absent once it is. The same holds for ``alert`` and ``command``."""
    alert: Alert | None = None
    command: ActivateVariant | None = None
    schema_version: int = 1


class MirrorStore(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="store"):
    """Whether a prompt store answers (topic ``crl.mirrors``)."""

    store: PromptStore
    revision: int
    alert_id: Identifier | None
    """Id of the alert that the store does not answer; absent while it answers."""
    alert: Alert | None = None
    """An alert that is to be published; absent once it is."""
    schema_version: int = 1
