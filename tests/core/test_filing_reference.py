"""The engine and a naive model of the proposals from outside, which share no code, agree on any history."""

from __future__ import annotations

from typing import Any

from builders import a_command
from hypothesis import event, given, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.policy import Policy, Proposals

from .reference_filings import FilingModel
from .task import HOUR, Task, proven

DAYS = 2
NAMES = ["default", "v1", "v2", "v3", "v4", "v5", "v6"]
names, prompts = st.sampled_from(NAMES), st.sampled_from(["p", "q"])
actions = st.one_of(
    *[st.tuples(st.just("propose"), names, st.none() | names, prompts, st.sampled_from([0, 0, 10, 20, 40]))] * 4,
    *[st.tuples(st.just("review"), st.sampled_from(["approve", "reject", "reject", "defer"]), st.integers(0, 3))] * 2,
    st.tuples(st.just("register"), names),
    st.tuples(st.just("outcome"), names, st.sampled_from([None, "shadow"])),
    st.tuples(st.just("pause"), st.integers(1, 40)),
)


def propose(task: Task, model: FilingModel, name: str, parent: str | None, prompt: str, n: int) -> None:
    evidence = m.CandidateEvidence(n=n) if n else None
    fields = {"variant_id": name, "parent": parent, "configuration": {"prompt": prompt}, "evidence": evidence}
    result = task.order(m.ProposeVariant, source="gepa@1", **fields)
    accepted = model.propose(name, parent, {"prompt": prompt}, n, task.row.time)
    assert (result.outcome == "applied") == accepted, result.detail
    assert (result.proposal_id is not None) == accepted
    event(f"propose: {result.detail.partition(';')[0].split()[1:4]}")


def review(task: Task, model: FilingModel, kind: str, number: int) -> None:
    filed = task.stated(m.TaskSnapshot)[-1].filed
    waiting = model.open(task.row.time)
    if not filed or not waiting:
        return
    one, modelled = filed[number % len(filed)], waiting[number % len(filed)]
    assert one.change.variant_id == modelled.name
    if kind == "approve":
        result = task.order(m.ApproveProposal, proposal_id=one.proposal_id, change=one.change)
        assert result.outcome == "applied", result.detail
        modelled.ended = "approved"
        model.existing.add(modelled.name)
        model.seen.add(modelled.name)
    else:
        task.order(m.RejectProposal if kind == "reject" else m.DeferProposal, proposal_id=one.proposal_id)
        modelled.ended = "rejected" if kind == "reject" else ""


@settings(deadline=None, max_examples=200)
@given(st.lists(actions, max_size=40))
def test_whatever_happens_the_same_candidates_are_accepted_and_open(history: list[Any]) -> None:
    task, model = proven(Policy(proposals=Proposals(expires_days=DAYS))), FilingModel(DAYS)
    for action, *arguments in history:
        if action == "propose":
            propose(task, model, *arguments)
        elif action == "review":
            review(task, model, *arguments)
        elif action == "register":
            if task.order(m.RegisterVariant, variant_id=arguments[0]).outcome == "applied":
                model.existing.add(arguments[0])
                model.seen.add(arguments[0])
        elif action == "outcome":
            name, role = arguments
            task.run(name, "S", role=role, variant_source=None if name == task.row.active else "explore")
            model.seen.add(name)
            if role is None:
                model.existing.add(name)
        else:
            task.pass_time(arguments[0] * HOUR)
        task.take(a_command(m.HoldTask))  # its result is published with a snapshot
        filed = task.stated(m.TaskSnapshot)[-1].filed
        assert [(f.change.variant_id, f.change.configuration, f.change.parent) for f in filed] == [
            (f.name, {"prompt": f.content["prompt"]}, f.content["parent"]) for f in model.open(task.row.time)
        ]
