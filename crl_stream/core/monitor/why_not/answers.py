"""Which questions say why a change does not happen, for each change that something automatic may cause."""

from __future__ import annotations

from typing import Final

from crl_stream.core.monitor import changes as c

ANSWERS: Final[dict[type, tuple[str, ...]]] = {
    c.BecameDegraded: ("degraded",),
    c.StayedDegraded: ("degraded",),
    c.CountedHealthy: ("recovered",),
    c.Recovered: ("recovered",),
    c.GivenUp: ("forgotten",),
    c.AlertOpened: ("alerted",),
    c.HeldBack: ("rolled_back",),
    c.FoundNoTarget: ("rolled_back",),
    c.FoundOneRuntime: ("rolled_back",),
    c.OneRuntimeEnded: ("rolled_back",),
    c.GuardrailBroken: ("guardrail_alerted",),
    c.GuardrailKept: ("guardrail_kept",),
    c.RolledBack: ("rolled_back", "guardrail_acted"),
    c.LookedBack: ("judged_afterwards",),
    c.Benefited: ("benefit_judged",),
    c.TakenBack: ("taken_back", "fell_together"),
    c.VerificationEnded: ("verified",),
    c.CommonCauseFound: ("fell_together", "common_cause"),
    c.CommonCauseEnded: ("cause_recovered", "cause_over"),
    c.Activated: ("first", "promoted", "stage_passed", "cause_recovered", "cause_over"),
    c.WouldPromote: ("promoted",),
    c.Decided: ("promoted",),
    c.RolloutStarted: ("promoted",),
    c.StagePassed: ("stage_passed",),
    c.RolloutStalled: ("stage_overdue",),
    c.RolloutAborted: ("rollout_aborted", "stage_overdue", "guardrail_acted"),
    c.Unpinned: ("unpinned",),
    c.HoldEnded: ("hold_ended",),
    c.FleetHoldNoticed: ("hold_ended",),
    c.QuarantineLifted: ("taken_back", "fell_together", "rolled_back", "guardrail_acted"),
}
"""For each change that something automatic may cause: the questions that say why it does not happen."""
