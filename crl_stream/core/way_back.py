"""How each command of a person is undone, in words: one wording for the dialogs of pages and the answers of terminals.

Every sentence has the exact command.  A command that cannot be undone says so, and what can be done instead.
"""

from __future__ import annotations

from typing import Any, Final

NOT_UNDONE: Final = "This cannot be undone"
"""How the sentence of a command that cannot be undone begins."""
_WAYS: Final = {
    "UndoRollback": "To repeat the change: crl activate {task} {before}; to end the hold afterwards: crl resume {task}",
    "ConfirmRollback": f"{NOT_UNDONE}, but the rollback can while it is the latest change: crl undo {{rollback_id}}",
    "HoldTask": "To end it: crl resume {task}",
    "ResumeTask": "To hold it again: crl hold {task}",
    "PinVariant": "To end it: crl unpin {task}",
    "UnpinVariant": "To pin it again: crl pin {task} {variant}",
    "ActivateVariant": "To take it back: crl undo {task} --epoch {epoch}",
    "StartRollout": "To end it: crl rollout abort {task}",
    "PauseRollout": "To go on: crl rollout resume {task}",
    "ResumeRollout": "To pause it again: crl rollout pause {task}",
    "PromoteRollout": "To end it: crl rollout abort {task}; once {variant} is active: crl undo {task}",
    "AbortRollout": "To begin again: crl rollout start {task} {variant}",
    "LiftQuarantine": f"{NOT_UNDONE}. To keep the variant out for good: crl retire {{task}} {{variant}}",
    "RegisterVariant": "To take it back: crl retire {task} {variant}",
    "RetireVariant": "To take it back: crl register {task} {variant}",
    "AcceptLevel": f"{NOT_UNDONE}: the old baseline is not kept.",
    "ProposeVariant": "To withdraw it: crl proposals reject {proposal_id} --reason TEXT",
    "ApproveProposal": "To undo the approval afterwards: {undo_command}",
    "RejectProposal": f"{NOT_UNDONE}. It is proposed again once its evidence has doubled.",
    "DeferProposal": (
        "To decide it at any time: crl proposals approve {proposal_id}; or: crl proposals reject {proposal_id} "
        "--reason TEXT"
    ),
    "HoldAll": (
        "To put it back: crl resume --all ends the hold; crl undo AGENT/TASK reverts the latest change of a task, also "
        "during the hold."
    ),
    "SetPolicy": "To take it back: give the settings above their old values, then: crl policy apply",
    "ResumeAll": "To stop everything again: crl hold --all",
}
COMMANDS: Final = frozenset(_WAYS)
"""The commands of people that have a sentence, by the name of their class."""


def way_back(command: str, task: object = "", **known: Any) -> str:
    """Return how a command is undone, as a sentence; a full stop never follows a command that may be copied.

    ``command`` is the name of its class, ``task`` the task that it is about.  ``known`` has what the sentence names:
    ``variant`` (VARIANT if it is not known), ``before`` (the variant that the command replaced), ``epoch`` (the one
    that it began), ``rollback_id``, ``proposal_id``, ``undo_command``.

    >>> way_back("ActivateVariant", "a/b", epoch=4)
    'To take it back: crl undo a/b --epoch 4'
    >>> way_back("AcceptLevel", "a/b")
    'This cannot be undone: the old baseline is not kept.'
    """
    return _WAYS[command].format(**{"task": task, "variant": "VARIANT", "before": "VARIANT"} | known)
