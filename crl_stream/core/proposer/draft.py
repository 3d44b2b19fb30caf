"""The view that the rules in ``core/proposer/rules`` read, and the drafts that they return."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, NamedTuple

from crl_stream.core.messages import Change, Modification, ProposalLimits, TaskSnapshot, VariantSnapshot
from crl_stream.core.messages.parts import ProposalType
from crl_stream.core.messages.snapshots import Trigger
from crl_stream.core.proposer.remedies import Kind, Remedies, dominant

_CLASSES: Final = ((50, 0.5), (100, 0.7))
"""Confidence in a claim based on fewer than 50 or fewer than 100 outcomes; with more, it is ``_SURE``."""
_SURE: Final = 0.85
_NUMBERED: Final = re.compile(r"(.+)-v([0-9]{1,9})")
_MAX_ID: Final = 128
_CONFIGURED: Final = frozenset(("temperature", "model_tier"))
"""Parameters that have their own field in a registration."""


class View(NamedTuple):
    """A task as the rules see it."""

    snapshot: TaskSnapshot
    limits: ProposalLimits
    active: VariantSnapshot
    variants: dict[str, VariantSnapshot]
    """The variants that runtimes may choose, as in ``crl.variants``, without retired ones; includes the active one."""
    remedies: Remedies
    carried: frozenset[bytes]
    """Digests of the modifications with which the active variant was made."""

    @property
    def rivals(self) -> list[VariantSnapshot]:
        """Variants that could be promoted: not retired, quarantined, degraded or rolled out, with enough outcomes."""
        return [
            variant
            for variant in self.variants.values()
            if variant is not self.active
            and not variant.quarantined
            and not variant.degraded
            and (self.snapshot.rollout is None or self.snapshot.rollout.variant_id != variant.variant_id)
            and variant.verdict != "DEGRADED"
            and variant.n_visits >= self.limits.promote_min_samples
        ]

    @property
    def has_room(self) -> bool:
        """Whether one more variant can be added to the task."""
        return len(self.snapshot.variants) < self.limits.max_variants

    def lower(self, difference: float) -> str:
        """Describe a difference in Q as the guide does: .15 is "15% lower performance"; above 1, it is "far lower"."""
        return f"{difference:.0%} lower performance" if difference <= 1.0 else "far lower performance"

    @property
    def subject(self) -> str:
        """The task type as the subject of a sentence: ``Security-audit tasks``."""
        name = self.snapshot.task_type
        return f"{name[0].upper()}{name[1:]} tasks"


class Draft(NamedTuple):
    """A proposal that a rule has drafted from a snapshot."""

    trigger: Trigger
    target: str
    n: int
    """Number of outcomes that the proposal is based on."""
    confidence: float
    reasoning: str
    evidence: str
    """The evidence in a few words, for the proposal's history."""
    q_default: float
    """The Q-value of the active variant."""
    improvement: float
    variance: float
    change: Change
    modifications: list[Modification]
    figures: dict[str, float] | None = None
    """Supporting figures in addition to the guide's."""


def view_of(snapshot: TaskSnapshot, remedies: Remedies, carried: frozenset[bytes]) -> View | None:
    """Return the task as the rules see it; None if no variant is active."""
    variants = {
        variant.variant_id: variant
        for variant in snapshot.variants
        if not variant.retired and not _only_in_shadow(variant)
    }
    active = variants.get(snapshot.active_variant or "")
    if active is None:
        return None
    return View(snapshot, snapshot.proposal_limits or ProposalLimits(), active, variants, remedies, carried)


def _only_in_shadow(variant: VariantSnapshot) -> bool:
    """Return whether runtimes must not choose the variant: it is not registered and has only shadow outcomes."""
    return variant.n_visits == 0 and variant.shadow_n > 0 and variant.configuration is None and not variant.active


def confidence(n: int, *, bonus: float = 0.0, most: float = 1.0) -> float:
    """Return the confidence: .5 below 50 outcomes, .7 below 100, otherwise .85; plus ``bonus``, at most ``most``."""
    base = next((value for below, value in _CLASSES if n < below), _SURE)
    return min(round(base + bonus, 2), most)


def bounded(draft: Draft, name: ProposalType, snapshot: TaskSnapshot) -> Draft:
    """Return the draft with no more confidence than the earlier proposals of its type have earned, and say so.

    The bound is the chance that the next one helps by Laplace's rule of succession: (helped + 1) / (judged + 2).
    """
    kept = (snapshot.benefits or {}).get(name)
    if kept is None and name == "promote_variant_to_default":
        kept = snapshot.promotions  # a snapshot of an older engine
    what = _JUDGED.get(name)
    if kept is None or what is None or kept.judged < _ENOUGH:
        return draft
    most = round((kept.helped + 1) / (kept.judged + 2), 2)
    # The sentence ends the first line: the next one is the suggestion, or the reason of the person who filed it.
    first, line_feed, rest = draft.reasoning.partition("\n")
    reasoning = f"{first} Of {kept.judged} {what}, {kept.helped} helped.{line_feed}{rest}"
    return draft._replace(confidence=min(draft.confidence, most), reasoning=reasoning)


_ENOUGH: Final = 3
"""How many judged changes of the task bound the confidence in the next one of their type."""
_JUDGED: Final[dict[ProposalType, str]] = {
    "promote_variant_to_default": "promotions of this task",
    "create_specialized_variant": "variants of this task that such proposals created and that became active",
    "modify_variant_parameters": "variants of this task that such proposals made and that became active",
    "enforce_task": "rollbacks of this task",
}
"""What a ``Benefit`` judges, by type of proposal.  A retirement changes no active variant, so it is not judged."""


def leads_by_more(better: VariantSnapshot, worse: VariantSnapshot, limit: float) -> bool:
    """Return whether ``better`` leads in Q by more than ``limit``, in decimal arithmetic: .8 - .6 is not > .2."""
    return Decimal(repr(better.q_value)) - Decimal(repr(worse.q_value)) > Decimal(repr(limit))


def next_variant_id(view: View) -> str:
    """Return the first free id among ``default-v2``, ``default-v3``, ... if ``default`` is the active variant."""
    active = view.active.variant_id
    base = match[1] if (match := _NUMBERED.fullmatch(active)) else active
    known = {variant.variant_id for variant in view.snapshot.variants}
    known |= {filed.change.variant_id for filed in view.snapshot.filed}
    number = 2
    while (name := _numbered(base, number)) in known:
        number += 1
    return name


def _numbered(base: str, number: int) -> str:
    suffix = f"-v{number}"
    return base[: _MAX_ID - len(suffix)] + suffix


def prescription(view: View) -> tuple[Kind, int, list[Modification]]:
    """Return the active variant's most common kind of failure, how often it occurred, and what to change."""
    active = view.active
    kind, count = dominant(active.failure_kinds)
    return kind, count, view.remedies.prescribe(view.snapshot.task_type, kind, active.configuration, view.carried)


def registration(view: View, variant_id: str, modifications: list[Modification]) -> Change:
    """Build the registration of a new variant based on the active one; parameters are inherited unless modified."""
    known = view.active.configuration
    chosen = {one.parameter: one.value for one in modifications if one.parameter in _CONFIGURED}
    return Change(
        action="register",
        variant_id=variant_id,
        parent=view.active.variant_id,
        model_tier=chosen.get("model_tier", known.model_tier if known else None),
        temperature=chosen.get("temperature", known.temperature if known else None),
        modifications=[one for one in modifications if one.parameter not in _CONFIGURED],
    )
