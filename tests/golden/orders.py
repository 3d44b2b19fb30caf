"""Every command: applied, refused for each possible reason, sent twice, expired, and for another epoch."""

from __future__ import annotations

from crl_stream.core import messages as m

from .rollbacks import proven
from .scribe import Scribe, Task, instant

PROMOTE = m.Change(action="activate", variant_id="b")


def collapsed(scribe: Scribe, agent: str, task_type: str) -> Task:
    """Write a task in which ``b`` was rolled back to ``a``."""
    task = proven(scribe, agent, task_type)
    task.run("b", "S" * 10 + "F" * 12)
    return task


def on_variants(scribe: Scribe, agent: str) -> None:
    """Activate, register and retire variants, and lift quarantines."""
    task = proven(scribe, agent, "commands", active="a")
    task.order(m.ActivateVariant, variant_id="unknown")
    task.order(m.ActivateVariant, variant_id="a")
    task.order(m.ActivateVariant, variant_id="b", expected_epoch=7)
    task.order(m.ActivateVariant, variant_id="b", expires_at=instant(scribe.clock - 1_000))
    task.order(m.ActivateVariant, variant_id="b", expires_at=instant(scribe.clock + 60_000), expected_epoch=1)
    again = task.order(m.ActivateVariant, variant_id="a", reason="")
    scribe.pipe(again)
    task.order(
        m.RegisterVariant,
        variant_id="c",
        parent="a",
        model_tier="large",
        provider="anthropic",
        model="big",
        temperature=0.3,
        modifications=[m.Modification(section="role", operation="append", content="Be brief.", reason="too long")],
    )
    task.order(m.RegisterVariant, variant_id="c", temperature=0.4)
    task.order(m.ActivateVariant, variant_id="c")
    task.order(m.ActivateVariant, variant_id="c", untested=True)
    task.run("c", "SSFS")
    task.order(m.RegisterVariant, variant_id="c")
    task.order(m.RegisterVariant, variant_id="d", modifications=[m.Modification(content="x" * 60_000)])
    task.order(m.RetireVariant, variant_id="c")
    task.order(m.RetireVariant, variant_id="b")
    task.order(m.RetireVariant, variant_id="b")
    task.order(m.ActivateVariant, variant_id="b")
    task.order(m.RetireVariant, variant_id="nobody")
    task.order(m.LiftQuarantine, variant_id="a")
    task.order(m.LiftQuarantine, variant_id="nobody")
    fresh = scribe.task(agent, "begins-with-commands")
    fresh.order(m.PinVariant)
    fresh.order(m.PinVariant, variant_id="a")
    fresh.order(m.RegisterVariant, variant_id="a")
    fresh.order(m.RetireVariant, variant_id="nobody", expected_epoch=3)
    fresh.order(m.ActivateVariant, variant_id="a", reason="")
    fresh.order(m.PinVariant, hours=0.001)
    fresh.run("a", "S" * 3)


def on_long_prompts(scribe: Scribe) -> None:
    """Register configurations that together are too large for one task, and then small ones."""
    task = scribe.task("guided", "long-prompts")
    for content in ("x" * 64_000, ""):
        for number in range(10):
            changes = [m.Modification(section="role", operation="replace", content=content)]
            task.order(m.RegisterVariant, variant_id=f"long-{number}", modifications=changes)


def on_changes(scribe: Scribe, agent: str) -> None:
    """Undo and confirm rollbacks, and set and release pins and holds."""
    task = collapsed(scribe, agent, "undone")
    task.order(m.ConfirmRollback, rollback_id="rb-none")
    task.order(m.UndoRollback, rollback_id="rb-none")
    task.order(m.ActivateVariant, variant_id="b")
    task.order(m.UndoRollback, reason="")
    task.order(m.ConfirmRollback, rollback_id=task.last_rollback)
    task.order(m.HoldTask, expected_epoch=99)
    task.order(m.HoldTask)
    task.order(m.UndoRollback)
    task.run("b", "S" * 14)
    task.order(m.ActivateVariant, variant_id="a")
    task.order(m.HoldTask, hours=0.5)
    task.order(m.UndoRollback)
    task.run("b", "S" * 4)
    task.order(m.ResumeTask)
    task.order(m.ResumeTask)
    task.order(m.ActivateVariant, variant_id="a")
    task.order(m.RetireVariant, variant_id="b")
    task.order(m.UndoRollback)
    task.order(m.RegisterVariant, variant_id="b")
    scribe.order(m.HoldAll, hours=0.005)
    task.order(m.UndoRollback)
    task.order(m.UnpinVariant)
    task.order(m.HoldTask, hours=0.001)
    task.order(m.ResumeTask)
    task.order(m.ResumeTask)
    scribe.order(m.ResumeAll)
    confirmed = collapsed(scribe, agent, "confirmed")
    for _ in range(2):
        confirmed.order(m.ConfirmRollback, rollback_id=confirmed.last_rollback)
    confirmed.order(m.UndoRollback)
    confirmed.order(m.ConfirmRollback, rollback_id=confirmed.last_rollback)
    confirmed.order(m.ResumeTask)
    confirmed.order(m.ActivateVariant, variant_id="a")
    confirmed.order(m.PinVariant, variant_id="b", hours=0.01)
    confirmed.order(m.PinVariant, variant_id="nobody")
    confirmed.run("b", "S" * 2)
    confirmed.order(m.UnpinVariant)
    confirmed.order(m.UnpinVariant)


def undo_without_a_hold(scribe: Scribe) -> None:
    """Undo rollbacks under a policy that sets no hold after an undo."""
    task = collapsed(scribe, "flapping", "undone")
    task.order(m.UndoRollback)
    task.order(m.UndoRollback)
    task.order(m.ActivateVariant, variant_id="a")
    task.order(m.HoldTask, hours=0.01)
    task.order(m.UndoRollback)
    task.order(m.ResumeTask)
    lifted = collapsed(scribe, "flapping", "confirmed-late")
    lifted.order(m.LiftQuarantine, variant_id="b")
    lifted.order(m.ConfirmRollback, rollback_id=lifted.last_rollback)


def on_the_fleet(scribe: Scribe) -> None:
    """Hold and release the fleet; replace a hold with another; let holds expire, at a tick or at a later record."""
    task = proven(scribe, "backend-architect", "fleet", active="a")
    scribe.order(m.ResumeAll)
    scribe.order(m.HoldAll, expires_at=instant(scribe.clock - 1_000))
    scribe.order(m.HoldAll, reason="")
    scribe.order(m.HoldAll, actor="bob", hours=0.01)
    task.run("a", "SS")
    scribe.task("backend-architect", "born-under-a-hold").run("a", "SS")
    task.order(m.ActivateVariant, variant_id="b")
    scribe.order(m.ResumeAll)
    scribe.order(m.HoldAll, hours=0.001)
    scribe.fall_silent(10_000)
    scribe.order(m.HoldAll, hours=0.001)
    scribe.clock += 4_000
    task.run("b", "S")
    scribe.task("security-auditor", "audit").run("a", "S")
    scribe.order(m.HoldAll, hours=0.001)
    scribe.clock += 4_000
    scribe.order(m.HoldAll, hours=0.001)
    scribe.clock += 4_000
    scribe.pipe(m.Tick(schema_version=1))
    scribe.clock -= 30_000
    scribe.order(m.HoldAll, hours=0.001)
    scribe.order(m.ResumeAll)
    scribe.clock += 30_000
    scribe.pipe(m.Tick(schema_version=1, up_to_ms=scribe.clock - 60_000))
    scribe.pipe(m.Tick(schema_version=1, up_to_ms=scribe.clock + 60_000))


def reviews(scribe: Scribe, agent: str) -> None:
    """Review proposals that were never made; the monitor needs only the commands."""
    task = proven(scribe, agent, "reviews", active="a")
    approve = {"proposal_id": "p1", "change": PROMOTE}
    task.order(m.ApproveProposal, **approve, valid_until=instant(scribe.clock - 60_000))
    task.order(m.PinVariant, actor="bob", hours=0.05)
    task.order(m.ApproveProposal, **approve)
    task.order(m.UnpinVariant)
    task.order(m.DeferProposal, proposal_id="p1")
    task.order(m.DeferProposal, proposal_id="p1", until=instant(scribe.clock - 60_000))
    task.order(m.DeferProposal, proposal_id="p1", until="2025-13-45T14:00:00Z")
    task.order(m.DeferProposal, proposal_id="p1", until=instant(scribe.clock + 5_000))
    scribe.fall_silent(8_000)
    task.order(m.ApproveProposal, **approve, valid_until=instant(scribe.clock + 60_000))
    task.order(m.ApproveProposal, **approve, reason="")
    task.order(m.RejectProposal, proposal_id="p1")
    task.order(m.UndoRollback)
    task.order(m.RejectProposal, proposal_id="p2", reason="")
    task.order(m.DeferProposal, proposal_id="p2")
    task.order(m.RejectProposal, proposal_id="p3", expected_epoch=99)
    task.order(m.ApproveProposal, proposal_id="p4", change=m.Change(action="register", variant_id="new", parent="a"))
    task.order(m.ApproveProposal, proposal_id="p5", change=m.Change(action="activate", variant_id="new"))
    task.order(m.ApproveProposal, proposal_id="p6", change=m.Change(action="retire", variant_id="a"))
    task.order(m.ApproveProposal, proposal_id="p7", change=m.Change(action="retire", variant_id="new"))
    reinstated = collapsed(scribe, agent, "reinstated")
    reinstated.order(m.ActivateVariant, variant_id="b", untested=True)
    reinstated.order(m.ApproveProposal, **approve)


def on_tags(scribe: Scribe) -> None:
    """Report a provider, let a task fall while it is reported, and end the report; one report arrives expired."""
    task = scribe.task("backend-architect", "warned")
    task.run("a", "S" * 60, provider="four")
    task.explore("b", "SSSSSSSSSF" * 4, provider="four")
    reports = ((60_000, "tag-1", True), (-1_000, "tag-2", True), (60_000, "tag-2", False))
    for milliseconds, incident_id, failing in reports:
        _report(scribe, milliseconds, incident_id, failing=failing)
    task.run("a", "F" * 12 + "S" * 12, provider="four")
    _report(scribe, 60_000, "tag-1", failing=False)


def _report(scribe: Scribe, milliseconds: int, incident_id: str, *, failing: bool) -> None:
    until = instant(scribe.clock + milliseconds)
    scribe.order(m.ReportTag, tag="provider:four", incident_id=incident_id, failing=failing, valid_until=until)
