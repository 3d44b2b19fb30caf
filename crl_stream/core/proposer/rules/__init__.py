"""The rules of the proposer: one file each, found by listing this folder, and sorted by ``ORDER``.

A file defines the ``PARTS`` below; CONTRIBUTING.md has an example.  The conditions that open a proposal (``propose``)
are deliberately stricter than those that keep it open (``lapse``).

All limits are read from the snapshot.  A rule must not draft anything that the monitor would refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from string import Formatter
from typing import Any, Final, NamedTuple, get_args

from crl_stream.core.folder import Part, is_place, load, only_once, takes
from crl_stream.core.messages.parts import ProposalType
from crl_stream.core.messages.snapshots import Trigger
from crl_stream.core.proposer.draft import Draft, View


class Rule(NamedTuple):
    """One checked file of this folder."""

    order: int
    name: ProposalType
    title: str
    """Title of the rule's proposals in a tracker, with the fields ``{target}`` and ``{task}``."""
    triggers: tuple[Trigger, ...]
    """The triggers that the rule's drafts may name."""
    makes: bool
    """Whether the target of the rule's proposals is the id of a variant that does not exist yet."""
    propose: Callable[[View], list[Draft]]
    """Returns the drafts for a task, at most one per target."""
    lapse: Callable[[View, str, Trigger], str | None]
    """Returns why an open proposal, given its target and trigger, is no longer justified; None if it still is."""


def _is_title(value: Any) -> bool:
    return isinstance(value, str) and {name for _, name, _, _ in Formatter().parse(value) if name} == {"target", "task"}


def _are_triggers(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and set(value) <= set(get_args(Trigger))


PARTS: Final = (
    Part(
        "NAME",
        f"a proposal type of the contract: {', '.join(get_args(ProposalType))}. Add a new one to ProposalType in "
        "core/messages/parts.py first",
        lambda value: value in get_args(ProposalType),
    ),
    Part("ORDER", "a whole number, 1 or more; rules are applied in this order", is_place),
    Part("TITLE", "the title of such a proposal in a tracker, with {target} and {task}", _is_title),
    Part(
        "TRIGGERS",
        f"a tuple of some of {', '.join(get_args(Trigger))}, as in Trigger in core/messages/snapshots.py",
        _are_triggers,
    ),
    Part("MAKES", "True if the target is a variant that does not exist yet, else False", lambda v: isinstance(v, bool)),
    Part("propose", "a function (view) -> the drafts that the task supports", takes(1)),
    Part("lapse", "a function (view, target, trigger) -> why an open proposal no longer applies, or None", takes(3)),
)
"""The names that every file in the folder must define."""


def _discover() -> tuple[Rule, ...]:
    modules = load(__name__, __path__, PARTS)
    only_once(modules, "NAME", lambda module: module.NAME)
    only_once(modules, "ORDER", lambda module: module.ORDER)
    return tuple(sorted(Rule(m.ORDER, m.NAME, m.TITLE, m.TRIGGERS, m.MAKES, m.propose, m.lapse) for m in modules))


RULES: Final[tuple[Rule, ...]] = _discover()
RULE_OF: Final[dict[str, Rule]] = {rule.name: rule for rule in RULES}
