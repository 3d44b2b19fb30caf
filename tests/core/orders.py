"""Every command, applied once and refused for each possible reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crl_stream.core import messages as m

from .task import Task, collapsed, proven

PROMOTE = m.Change(action="activate", variant_id="v2")


def two() -> Task:
    return proven(v2="S" * 12)


def changed(change: Callable[[Task], Any]) -> Callable[[], Task]:
    def make() -> Task:
        task = two()
        change(task)
        return task

    return make


def declined() -> Task:
    """Build a task whose only variant is degraded: half of its last outcomes failed."""
    task = Task()
    task.run("default", "S" * 40 + "SF" * 11 + "F")
    return task


def rolling() -> Task:
    """Build a task in which v2 is rolled out."""
    task = two()
    task.order(m.StartRollout, variant_id="v2")
    return task


def another() -> Task:
    task = rolling()
    task.order(m.RegisterVariant, variant_id="v3")
    return task


def pinned() -> Task:
    task = rolling()
    task.order(m.PinVariant, actor="bob")
    return task


def paused() -> Task:
    task = rolling()
    task.order(m.PauseRollout)
    return task


def rollback_id(task: Task) -> str:
    return str(task.stated(m.RollbackEvent)[-1].rollback_id)


APPLIED: list[tuple[type, dict[str, Any], Callable[[], Task], str]] = [
    (m.ActivateVariant, {"variant_id": "v2"}, two, "v2 is active, epoch 2"),
    (m.UndoRollback, {}, collapsed, "api-optimized is active, epoch 4; no automatic changes for 100 outcomes"),
    (m.ConfirmRollback, {"rollback_id": ...}, collapsed, "reviewed; api-optimized stays quarantined"),
    (m.PinVariant, {}, two, "default pinned until 2025-11-20T14:3"),
    (m.PinVariant, {"variant_id": "v2", "hours": 1.0}, two, "v2 pinned until 2025-11-19T15:3"),
    (m.UnpinVariant, {}, changed(lambda t: t.order(m.PinVariant)), "unpinned"),
    (m.HoldTask, {"hours": 2.0}, two, "held until 2025-11-19T16:3"),
    (m.ResumeTask, {}, changed(lambda t: t.order(m.HoldTask)), "resumed"),
    (m.LiftQuarantine, {"variant_id": "api-optimized"}, collapsed, "api-optimized may be chosen again"),
    (
        m.RegisterVariant,
        {"variant_id": "v9"},
        two,
        "v9 registered; exploration is off (operations.exploration is 0)",
    ),
    (m.RetireVariant, {"variant_id": "v2"}, two, "v2 retired"),
    (
        m.AcceptLevel,
        {},
        declined,
        "default is now compared with its last 20 outcomes: reward -0.100, success 45.0%",
    ),
    (m.StartRollout, {"variant_id": "v2"}, two, "of v2 began with 5 % of the invocations, then 25 %, 50 %; each stage"),
    (m.PauseRollout, {}, rolling, "v2 stays at 5 % (stage 1) until resumed; it is still aborted if degraded"),
    (m.ResumeRollout, {}, paused, "v2 continues at 5 % (stage 1)"),
    (m.PromoteRollout, {"stage": 1}, rolling, "v2 now gets 25 % (stage 2)"),
    (m.AbortRollout, {}, rolling, "aborted: all invocations use default again; v2 is not quarantined"),
    (m.ApproveProposal, {"proposal_id": "p1", "change": PROMOTE}, two, "p1 approved: v2 is active, epoch 2"),
    (
        m.ProposeVariant,
        {"variant_id": "v9", "source": "gepa@0.1.4", "parent": "default", "configuration": {"prompt": "p"}},
        two,
        "v9 is proposed as prop-20251119-",
    ),
    (
        m.ApproveProposal,
        {"proposal_id": "p1", "change": m.Change(action="register", variant_id="v9")},
        two,
        "p1 approved: v9 registered",
    ),
    (
        m.ApproveProposal,
        {"proposal_id": "p1", "change": m.Change(action="retire", variant_id="v2")},
        two,
        "p1 approved: v2 retired",
    ),
    (m.RejectProposal, {"proposal_id": "p1"}, two, "p1 rejected"),
    (
        m.DeferProposal,
        {"proposal_id": "p1", "until": "2025-12-01T00:00:00Z"},
        two,
        "p1 deferred until 2025-12-01T00:00:00Z",
    ),
]


def registered_only() -> Task:
    """Build a task that has a registered variant and no outcome."""
    task = Task()
    task.order(m.RegisterVariant, variant_id="default")
    return task


def _undone() -> Task:
    task = collapsed()
    task.order(m.UndoRollback)
    return task


def refused_after(kind: type, **fields: Any) -> Callable[[], Task]:
    return changed(lambda task: task.order(kind, **fields))


# Only HoldTask is never refused for its content: an operator can always stop automatic changes.
REFUSED: list[tuple[type, dict[str, Any], Callable[[], Task], str]] = [
    (
        m.ActivateVariant,
        {"variant_id": "v7"},
        two,
        "variant v7 is unknown; register it first (known variants: default, v2)",
    ),
    (m.ActivateVariant, {"variant_id": "default"}, two, "already the active variant"),
    (
        m.ActivateVariant,
        {"variant_id": "v9"},
        refused_after(m.RegisterVariant, variant_id="v9"),
        "no outcome yet, and exploration is off",
    ),
    (
        m.ActivateVariant,
        {"variant_id": "v2"},
        refused_after(m.RetireVariant, variant_id="v2"),
        "retired; register it again first",
    ),
    (
        m.ActivateVariant,
        {"variant_id": "api-optimized"},
        collapsed,
        "crl quarantine lift backend-architect/api-design api-optimized first, or crl undo",
    ),
    (m.UndoRollback, {}, two, "there is no change to undo (latest change: first_seen)"),
    (
        m.UndoRollback,
        {},
        _undone,
        "the latest change is itself an undo; to make default active again: crl activate backend-architect/api-design",
    ),
    (m.UndoRollback, {"rollback_id": "rb-1"}, collapsed, "rb-1 is not the latest change, which is rb-20251119-"),
    (
        m.ConfirmRollback,
        {"rollback_id": "rb-1"},
        two,
        "rb-1 is not one of the task's recent rollbacks (newest first: none)",
    ),
    (m.PinVariant, {}, Task, "no variant is active yet; name the one to pin"),
    (m.PinVariant, {"variant_id": "v7"}, two, "register it first"),
    (m.UnpinVariant, {}, two, "the task has no pin"),
    (m.ResumeTask, {}, two, "the task is not held"),
    (m.LiftQuarantine, {"variant_id": "v2"}, two, "v2 is not quarantined"),
    (m.AcceptLevel, {}, Task, "no variant is active yet; name the one whose level you accept"),
    (m.AcceptLevel, {"variant_id": "v7"}, two, "register it first"),
    (m.AcceptLevel, {}, two, "default is not degraded, so its baseline stays"),
    (m.LiftQuarantine, {"variant_id": "v7"}, two, "register it first"),
    (m.StartRollout, {"variant_id": "v7"}, two, "register it first"),
    (m.StartRollout, {"variant_id": "v7"}, Task, "register it first (known variants: none)"),
    (m.StartRollout, {"variant_id": "default"}, two, "default is already the active variant"),
    (m.StartRollout, {"variant_id": "default"}, registered_only, "no variant is active yet"),
    (
        m.StartRollout,
        {"variant_id": "v2"},
        rolling,
        "v2 is already being rolled out; crl rollout status shows its progress",
    ),
    (m.StartRollout, {"variant_id": "v3"}, another, "a rollout of v2 is in progress; end it first: crl rollout abort"),
    (
        m.StartRollout,
        {"variant_id": "v2"},
        refused_after(m.RetireVariant, variant_id="v2"),
        "retired; register it again first",
    ),
    (m.StartRollout, {"variant_id": "api-optimized"}, collapsed, "run crl quarantine lift"),
    (m.StartRollout, {"variant_id": "v2"}, refused_after(m.PinVariant, actor="bob"), "default is pinned by bob"),
    (m.PauseRollout, {}, two, "no rollout is in progress"),
    (m.PauseRollout, {}, paused, "already paused by ada"),
    (m.PauseRollout, {"rollout_id": "ro-1"}, rolling, "ro-1 is over; ro-20251119-"),
    (m.ResumeRollout, {}, rolling, "the rollout of v2 is not paused"),
    (m.PromoteRollout, {"stage": 2}, rolling, "stage 1 is in progress, not 2; look again: crl rollout status"),
    (m.PromoteRollout, {}, pinned, "default is pinned by bob, so nothing replaces it; unpin the task first"),
    (m.AbortRollout, {}, two, "no rollout is in progress"),
    (m.RetireVariant, {"variant_id": "v2"}, rolling, "v2 is being rolled out; first: crl rollout abort"),
    (m.AcceptLevel, {"variant_id": "v2"}, rolling, "v2 is being rolled out, so it is compared with default"),
    (
        m.RegisterVariant,
        {"variant_id": "v2"},
        refused_after(m.RegisterVariant, variant_id="v2"),
        "is already registered and has outcomes; choose a new variant_id",
    ),
    (m.RetireVariant, {"variant_id": "default"}, two, "default is active; activate another variant first"),
    (m.RetireVariant, {"variant_id": "v2"}, refused_after(m.RetireVariant, variant_id="v2"), "already retired"),
    (
        m.ProposeVariant,
        {"variant_id": "v9", "source": "s"},
        Task,
        "register it instead: crl register backend-architect",
    ),
    (m.ProposeVariant, {"variant_id": "v2", "source": "s"}, two, "v2 already exists; choose a new variant_id"),
    (
        m.ProposeVariant,
        {"variant_id": "v9", "source": "s", "parent": "v8"},
        two,
        "variant v8 is unknown; register it first (known variants: default, v2)",
    ),
    (
        m.ApproveProposal,
        {"proposal_id": "p1", "change": PROMOTE, "valid_until": "2025-11-19T14:00:00Z"},
        two,
        "p1 was valid until 2025-11-19T14:00:00Z; wait for a new proposal",
    ),
    (
        m.ApproveProposal,
        {"proposal_id": "p1", "change": PROMOTE},
        refused_after(m.RejectProposal, proposal_id="p1", reason="not now"),
        "p1 was already rejected by ada at 2025-11-19T14:30:43.000Z: not now",
    ),
    (
        m.ApproveProposal,
        {"proposal_id": "p1", "change": PROMOTE},
        refused_after(m.PinVariant, actor="bob"),
        "default is pinned by bob, so nothing is promoted; unpin the task first",
    ),
    (
        m.ApproveProposal,
        {"proposal_id": "p1", "change": m.Change(action="activate", variant_id="v9")},
        refused_after(m.RegisterVariant, variant_id="v9"),
        "v9 has no outcome yet, and exploration is off",
    ),
    (
        m.ApproveProposal,
        {"proposal_id": "p1", "change": m.Change(action="retire", variant_id="default")},
        two,
        "default is active; activate another variant first",
    ),
    (
        m.RejectProposal,
        {"proposal_id": "p1"},
        refused_after(m.ApproveProposal, proposal_id="p1", change=PROMOTE),
        "p1 was already approved by ada at 2025-11-19T14:30:43.000Z: a test asked for it",
    ),
    (
        m.DeferProposal,
        {"proposal_id": "p1"},
        refused_after(m.RejectProposal, proposal_id="p1"),
        "p1 was already rejected by ada at 2025-11-19T14:30:43.000Z",
    ),
    (
        m.DeferProposal,
        {"proposal_id": "p1", "until": "2025-11-19T14:00:00Z"},
        two,
        "2025-11-19T14:00:00Z has already passed; give a later time",
    ),
    (
        m.DeferProposal,
        {"proposal_id": "p1", "until": "2025-13-45T14:00:00Z"},
        two,
        "write it like 2025-11-19T14:30:00Z",
    ),
]
