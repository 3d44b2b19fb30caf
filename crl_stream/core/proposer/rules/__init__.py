"""The rules of the proposer: one file each, found by listing this folder, in the order in which they are asked.

A rule has NAME (the guide's proposal type), ORDER, ``propose(view)``, which gives the drafts that a snapshot speaks
for, and ``lapse(view, target, trigger)``, which says why an open proposal has lost its ground, None while it has
not.  The two differ on purpose: what opens a proposal is stricter than what keeps it open.

Every limit comes with the snapshot.  A rule drafts nothing that the monitor would refuse.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Final, NamedTuple

from crl_stream.core.messages.snapshots import ProposalType, Trigger
from crl_stream.core.proposer.draft import Draft, View


class Rule(NamedTuple):
    """A module of this folder, checked."""

    order: int
    name: ProposalType
    propose: Callable[[View], list[Draft]]
    lapse: Callable[[View, str, Trigger], str | None]


def _discover() -> tuple[Rule, ...]:
    found = []
    for info in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        found.append(Rule(module.ORDER, module.NAME, module.propose, module.lapse))
    return tuple(sorted(found))


RULES: Final[tuple[Rule, ...]] = _discover()
RULE_OF: Final[dict[str, Rule]] = {rule.name: rule for rule in RULES}
