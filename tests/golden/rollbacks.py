"""Degradations of each metric and their consequences: rollbacks, holds, no target, recoveries; and promotions."""

from __future__ import annotations

from typing import Any

from crl_stream.core import messages as m

from .scribe import Scribe, Task


def proven(scribe: Scribe, agent: str, task_type: str, active: str = "b", **fields: Any) -> Task:
    """Write a task with two proven variants; ``active`` names the active one."""
    task = scribe.task(agent, task_type)
    task.run("a", "S" * 30, **fields)
    task.explore("b", "S" * 30, **fields)
    if active == "b":
        task.order(m.ActivateVariant, variant_id="b")
    return task


def each_metric(scribe: Scribe, agent: str) -> None:
    """Worsen success, reward and errors, each in a separate task; in a fourth task, nothing succeeds."""
    rate = proven(scribe, agent, "by-success")
    rate.run("b", "S" * 10 + "F" * 12)
    rate.run("a", "SS")
    rate.run("b", "S", active_epoch=2)
    reward = proven(scribe, agent, "by-reward", reward=0.9)
    reward.run("b", "S" * 10, reward=0.9)
    reward.run("b", "S" * 12, reward=0.1)
    errors = scribe.task(agent, "by-errors")
    errors.run("a", "SSSSX" * 6, reward=0.8)
    errors.explore("b", "SSSSX" * 6, reward=0.8)
    errors.order(m.ActivateVariant, variant_id="b")
    errors.run("b", "SSSSX" * 3 + "X" * 10, reward=0.8)
    absolute = scribe.task(agent, "absolute")
    absolute.run("a", "F" * 19 + "E" * 18)
    absolute.explore("b", "SSS" + "S" * 3)
    absolute.run("a", "FE")


def held(scribe: Scribe) -> None:
    """Hold degraded tasks: alerts repeat while the hold lasts, and the rollback happens when it ends."""
    task = proven(scribe, "backend-architect", "held")
    task.order(m.HoldTask, hours=1.0)
    task.run("b", "S" * 10 + "F" * 30)
    task.order(m.HoldTask, actor="bob", hours=0.5)
    task.run("b", "F")
    scribe.order(m.HoldAll, hours=0.02)
    task.run("b", "F" * 2)
    task.order(m.ResumeTask)
    task.run("b", "F" * 2)
    task.order(m.ResumeTask)
    scribe.order(m.ResumeAll, reason="")
    task.run("b", "FF")
    expiring = proven(scribe, "backend-architect", "hold-expires")
    expiring.order(m.HoldTask, hours=0.001)
    expiring.run("b", "S" * 10 + "F" * 30)


def one_runtime(scribe: Scribe) -> None:
    """Let one runtime, or the outcomes that name none, fail while the others contradict; then let all runtimes fail."""
    for name, bad in (("broken-host", "h3"), ("unnamed", None)):
        task = scribe.task("backend-architect", name)
        for turn in range(60):
            task.run("a", "S", runtime_id=f"h{turn % 3}")
        task.explore("b", "S" * 30, runtime_id="h1")
        task.run("a", "F" * 24, runtime_id=bad)
        for turn in range(24):
            task.run("a", "F", runtime_id=f"h{turn % 3}")
    alone = scribe.task("backend-architect", "recovers-elsewhere")
    for turn in range(30):
        alone.run("a", "S", runtime_id=f"h{turn % 3}")
    alone.run("a", "X" * 8, runtime_id="h3", reward=-1.0)
    for turn in range(45):
        alone.run("a", "S", runtime_id=f"h{turn % 3}")
    alone.explore("b", "S" * 25, runtime_id="h4", reward=1.0)
    for turn in range(12):
        alone.run("a", "F" if turn % 3 == 0 else "S", runtime_id=f"h{turn % 3}")


def recovered(scribe: Scribe, agent: str) -> None:
    """Let degraded variants recover: an active one under a hold, an active one without a target, and inactive ones."""
    task = proven(scribe, agent, "recovers")
    task.order(m.HoldTask, hours=1.0)
    task.run("b", "S" * 10 + "F" * 4 + "S" * 45)
    task.order(m.ResumeTask)
    twice = proven(scribe, agent, "recovers-twice")
    twice.run("b", "S" * 10 + "F" * 4 + "S" * 45 + "F" * 8)
    alone = scribe.task(agent, "recovers-alone")
    alone.run("a", "S" * 30 + "F" * 4 + "S" * 45)
    beside = scribe.task(agent, "recovers-beside")
    beside.run("a", "S" * 20)
    beside.explore("b", "S" * 25 + "F" * 5 + "S" * 45)
    beside.explore("c", "S" * 25 + "F" * 8)
    beside.order(m.RetireVariant, variant_id="c")
    beside.explore("c", "S")
    beside.explore("b", "F" * 6)
    beside.order(m.ActivateVariant, variant_id="b")


def without_target(scribe: Scribe) -> None:
    """Cover every reason against choosing a variant as the target, all at once; then one variant becomes eligible."""
    task = scribe.task("backend-architect", "objections")
    task.run("a", "S" * 30)
    for name, letters in (
        ("few", "SS"),
        ("bad", "S" * 25 + "F" * 12),
        ("gone", "S" * 6),
        ("weak", "F" * 6),
        ("never", "F" * 21),
    ):
        task.explore(name, letters)
    task.order(m.RetireVariant, variant_id="gone")
    task.order(m.ActivateVariant, variant_id="never")
    task.order(m.LiftQuarantine, variant_id="a")
    task.run("never", "F" * 8)
    task.order(m.RetireVariant, variant_id="a")
    task.run("never", "F" * 30)
    task.order(m.RegisterVariant, variant_id="gone")
    task.order(m.RegisterVariant, variant_id="gone")
    task.explore("few", "S" * 4)
    task.run("never", "F")
    nothing = scribe.task("backend-architect", "nothing-to-compare")
    nothing.run("a", "F" * 12 + "S", reward=-0.5)
    nothing.run("a", "F" * 19, reward=-0.5)
    tolerant = scribe.task("backend-architect", "first-errors")
    tolerant.run("a", "S" * 25, reward=0.5)
    tolerant.run("a", "XSSSXSSS", reward=0.5)


def again_and_again(scribe: Scribe) -> None:
    """Cause more rollbacks than are remembered, and review some; then let one newcomer replace another."""
    task = scribe.task("flapping", "back-and-forth")
    task.run("a", "S" * 6)
    task.explore("b", "S" * 6)
    for number in range(11):
        other = "ab"[number % 2 == 0]
        task.order(m.ActivateVariant, variant_id=other)
        task.run(other, "F" * 4)
        if number in {2, 3, 9}:
            task.order(m.ConfirmRollback, rollback_id=task.last_rollback)
        task.explore(other, "S" * 4)
        task.order(m.LiftQuarantine, variant_id=other)
    chain = scribe.task("backend-architect", "newcomers")
    chain.run("a", "S" * 30)
    for name in ("b", "c"):
        chain.explore(name, "S" * 6)
        chain.order(m.ActivateVariant, variant_id=name)
        chain.run(name, "S" * 3)
        chain.score(chain.run(name, "S")[0], reward=0.4)
    chain.order(m.ActivateVariant, variant_id="b")
    chain.run("b", "S" * 8 + "F" * 12)
    young = scribe.task("backend-architect", "young")
    young.run("a", "SS")
    young.explore("b", "SS")
    young.order(m.ActivateVariant, variant_id="b")
    young.run("b", "S" * 12)


def verified(scribe: Scribe, agent: str) -> None:
    """Take a rollback back, let another stay, and end a verification early: by a confirmation, a hold, a retirement."""
    for name, letters in (("taken-back", "F" * 12), ("stays", "S" * 24), ("falls", "S" * 8 + "F" * 4 + "S" * 14)):
        task = _fallen(scribe, agent, f"verified-{name}")
        task.run("a", letters)
        task.order(m.ConfirmRollback, rollback_id=task.last_rollback)
    task = _fallen(scribe, agent, "verified-confirmed")
    task.order(m.ConfirmRollback, rollback_id=task.last_rollback)
    task.run("a", "F" * 14)
    task = _fallen(scribe, agent, "verified-held")
    task.order(m.HoldTask, hours=0.5)
    task.run("a", "F" * 24)
    task = _fallen(scribe, agent, "verified-retired")
    task.order(m.RetireVariant, variant_id="b")
    task.run("a", "SF" * 6)
    task = _fallen(scribe, agent, "verified-undone")
    task.run("a", "F" * 12)
    task.order(m.UndoRollback)


def shared_outages(scribe: Scribe, agent: str) -> None:
    """Hold through outages of a provider: one ends, another lasts for 200 outcomes, and a person ends the third."""
    for name, after in (("recovers", "S" * 14), ("lasts", "F" * 210), ("resumed", "F" * 3)):
        task = scribe.task(agent, f"outage-{name}")
        task.run("a", "S" * 60, provider="one")
        task.explore("b", "SSSSSSSSSF" * 4, provider="one", model="large")
        if name == "lasts":
            task.explore("c", "SSSSF" * 6, provider="two")
        task.run("a", "F" * 5, provider="one")
        task.run("b", "F" * 14, provider="one")
        task.run("c" if name == "lasts" else "a", after, provider="two" if name == "lasts" else "one")
        task.order(m.ResumeTask)
        task.explore("a", "S" * 14, provider="one")


def _fallen(scribe: Scribe, agent: str, task_type: str) -> Task:
    """Write a task that was rolled back from ``b`` to ``a``."""
    task = scribe.task(agent, task_type)
    task.run("a", "SSSSSSSSSF" * 4)
    task.explore("b", "S" * 40)
    task.order(m.ActivateVariant, variant_id="b")
    task.run("b", "S" * 10 + "F" * 6)
    return task


def bounded(scribe: Scribe, agent: str) -> None:
    """Compare windows with the recent past and the lifetime before them, with floors, and accept a lower level."""
    youth = scribe.task(agent, "bad-youth")
    youth.run("a", "SF" * 30 + "S" * 70 + "SSSF" * 8)
    youth.order(m.AcceptLevel, variant_id="a")
    youth.run("a", "SSSF" * 3 + "F" * 14)
    youth.order(m.AcceptLevel)
    youth.run("a", "F" * 60)
    errors = scribe.task(agent, "first-errors")
    errors.run("a", "S" * 50 + "X" + "S" * 20 + "XX", reward=0.8)
    below = scribe.task(agent, "negative")
    below.run("a", "S" * 50, reward=-0.04)
    below.run("a", "S" * 4, reward=-1.0)
    newcomer = scribe.task(agent, "newcomer")
    newcomer.run("a", "SSSSSSSSSF" * 5)
    newcomer.explore("b", "S" * 6)
    newcomer.order(m.ActivateVariant, variant_id="b")
    newcomer.run("b", "S" * 60)
    newcomer.score(newcomer.run("b", "S")[0], reward=0.1)
    newcomer.order(m.AcceptLevel, variant_id="nobody")
    fresh = scribe.task(agent, "accepts-nothing")
    fresh.order(m.AcceptLevel)
    fresh.run("a", "S" * 5)
    fresh.order(m.AcceptLevel)


def evidence(scribe: Scribe) -> None:
    """Use the guard ``evidence``: a rule broken by chance, a collapse, a recovery, and rewards below zero."""
    for task_type in ("drifts", "lifetime"):
        task = scribe.task("guarded", task_type)
        task.run("a", "S" * 45, reward=0.9, quality=0.5)
        task.explore("b", "S" * 30 + "SSF" * 8)
        task.run("a", "SSSSSSFSSF", reward=0.8)
        task.run("a", "F" * 16 + "E" * 4, reward=-0.4)
        task.run("b", "S" * 20)
        task.explore("a", "S" * 30)
    errors = scribe.task("guarded", "first-errors")
    errors.run("a", "S" * 45, reward=0.5)
    errors.run("a", "SSXSSSXSSSS", reward=0.5)
    scribe.task("guarded", "absolute").run("a", "F" * 21)
    stubborn = scribe.task("stubborn", "absolute")
    stubborn.run("a", "S" * 30)
    stubborn.explore("b", "S" * 6)
    stubborn.run("a", "F" * 22)
    scribe.task("guarded", "overwhelming").explore("a", "S" * 130 + "F" * 24)
    negative = scribe.task("guarded", "negative")
    negative.run("a", "SFFFX" * 24, reward=-0.6)
    shadow = proven(scribe, "shadow-runner", "guarded")
    shadow.run("b", "S" * 40 + "F" * 14 + "S" * 26)


def promotions(scribe: Scribe, agent: str) -> None:
    """Promote a better variant automatically, after everything that can prevent a promotion has been tried."""
    task = scribe.task(agent, "promotes")
    task.run("a", "S" * 12, reward=0.3)
    for name in ("b", "c", "d"):
        task.explore(name, "S" * 12, reward=0.97)
    task.order(m.PinVariant, hours=0.01)
    task.run("a", "SS", reward=0.3)
    task.order(m.UnpinVariant)
    task.order(m.HoldTask, hours=0.01)
    task.run("a", "S", reward=0.3)
    task.order(m.ResumeTask)
    scribe.order(m.HoldAll, hours=0.005)
    task.run("a", "SS", reward=0.3)
    scribe.order(m.ResumeAll)
    task.run("a", "S" * 12, reward=0.3)
    task.run("b", "S" * 12, reward=0.97)
    task.order(m.UndoRollback)
    task.run("a", "S" * 26, reward=0.3)
    task.explore("b", "S" * 11, reward=0.97)
    task.run("a", "SS", reward=0.3)
    lead = scribe.task(agent, "leads")
    lead.run("a", "S" * 25, reward=0.93)
    lead.explore("b", "S" * 12, reward=0.95)
    lead.explore("c", "S" * 12, reward=0.91)
    lead.explore("d", "F" * 12 + "S" * 30, reward=0.99)
    lead.run("a", "S" * 12, reward=0.93)
    lead.run("a", "S" * 12, reward=0.6)
    lead.run("a", "S" * 12, reward=0.93)
    _levels(scribe.task(agent, "levels"))


def _levels(task: Task) -> None:
    task.run("a", "S" * 3, reward=0.1)
    task.explore("b", "S" * 4, reward=0.95)
    task.explore("b", "S" * 3, reward=0.95)
    task.explore("c", "S" * 12, reward=0.75)
    task.explore("b", "F" * 6, reward=-0.2)
    task.explore("d", "S" * 6, reward=0.2)
    task.order(m.RetireVariant, variant_id="d")
    task.explore("d", "S" * 2, reward=1.0)
    task.run("a", "S" * 10, reward=0.1)
    task.order(m.ActivateVariant, variant_id="c")
    task.run("c", "S" * 4, reward=0.1)
