"""Rollouts: completed, aborted, paused, ended by people or rollbacks, and automatic ones."""

from __future__ import annotations

from crl_stream.core import messages as m

from .scribe import Scribe, Task


def ordered(scribe: Scribe, agent: str) -> None:
    """Roll variants out by command, and let each rollout end differently."""
    task = _begun(scribe, agent, "completes")
    for _ in range(2):
        task.run("a", "SSSSSSSSSF" * 2)
        task.explore("c", "S" * 6)
    task.run("c", "S" * 3)
    task = _begun(scribe, agent, "aborted")
    task.run("a", "S" * 25, runtime_id="r1")
    scored = task.explore("c", "F" * 9)
    task.score(scored[0], reward=-0.5)
    task.score(task.run("a", "S")[0], reward=0.5)
    task.explore("c", "FF")
    task.run("a", "SS", runtime_id="r1")
    task.order(m.UndoRollback)
    task.order(m.UndoRollback)
    task = _begun(scribe, agent, "directed")
    task.order(m.PauseRollout)
    task.order(m.PauseRollout)
    task.explore("c", "S" * 8)
    task.run("a", "S" * 8)
    task.order(m.ResumeRollout, actor="bob")
    task.order(m.ResumeRollout)
    task.order(m.PromoteRollout, stage=3)
    task.order(m.PromoteRollout, stage=1)
    task.order(m.AbortRollout, rollout_id="ro-1")
    task.order(m.AbortRollout, reason="")
    task.order(m.AbortRollout)
    task.order(m.UndoRollback)
    task.order(m.StartRollout, variant_id="c")
    task.order(m.PromoteRollout, full=True, reason="")
    task = _begun(scribe, agent, "stalls")
    task.explore("c", "FSSSSSSSSS" * 3)
    task.run("a", "S" * 30)
    task.explore("c", "FSSSSSSSSS" * 3)
    task.order(m.PromoteRollout)
    task.order(m.HoldTask)
    task.explore("c", "F" * 12)
    task.order(m.StartRollout, variant_id="c")
    task = _begun(scribe, agent, "ends")
    task.run("a", "S" * 10)
    task.order(m.ActivateVariant, variant_id="b")


def refused(scribe: Scribe, agent: str) -> None:
    """Send commands for rollouts that cannot begin."""
    task = scribe.task(agent, "refused")
    task.order(m.RegisterVariant, variant_id="c")
    task.order(m.StartRollout, variant_id="c")
    task.run("a", "S")
    for name in ("a", "unknown"):
        task.order(m.StartRollout, variant_id=name)
    task.order(m.PinVariant)
    task.order(m.StartRollout, variant_id="c")
    task.order(m.UnpinVariant)
    task.order(m.PauseRollout)
    task.order(m.ResumeRollout)
    task.order(m.RetireVariant, variant_id="c")
    task.order(m.StartRollout, variant_id="c")


def automatic(scribe: Scribe, agent: str) -> None:
    """Promote under a policy with stages: by a lead, without one, and after an approval."""
    for task_type, worse, then in (("leads", "SSSF", "SSSF"), ("levels", "SSSF", "S")):
        task = scribe.task(agent, task_type)
        task.run("a", worse * 10)
        task.explore("b", "S" * 30)
        task.run("a", worse)
        for _ in range(12):
            task.run("a", then * 2)
            task.explore("b", "S" * 5)
    task = scribe.task(agent, "approved")
    task.run("a", "S" * 20)
    task.explore("b", "S" * 12)
    change = m.Change(action="activate", variant_id="b")
    task.order(m.ApproveProposal, proposal_id="prop-9", change=change)
    task.order(m.RetireVariant, variant_id="b")
    task.order(m.ApproveProposal, proposal_id="prop-10", change=change)


def _begun(scribe: Scribe, agent: str, task_type: str) -> Task:
    task = scribe.task(agent, task_type)
    task.run("a", "S" * 20)
    task.explore("b", "S" * 6)
    task.order(m.RegisterVariant, variant_id="c")
    task.order(m.StartRollout, variant_id="c", stages=[0.1, 0.5], min_outcomes=6)
    return task
