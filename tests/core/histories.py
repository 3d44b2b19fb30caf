"""Hypothesis strategies for anything that can happen to a task."""

from __future__ import annotations

from typing import Any

from builders import AGENT, AT, TASK, a_command, an_invocation
from hypothesis import strategies as st

from crl_stream.core import messages as m

VARIANTS = ["default", "v2", "v3"]
ids = st.integers(0, 200).map(lambda n: f"i{n}")

outcomes = st.builds(
    an_invocation,
    st.sampled_from(VARIANTS),
    st.sampled_from(["success", "success", "success", "failure", "error"]),
    invocation_id=ids,
    reward=st.none() | st.floats(-1, 1),
    quality=st.none() | st.floats(0, 1),
    duration_seconds=st.none() | st.floats(0, 2000),
    complexity=st.sampled_from(["low", "medium", "high", None]),
    error_count=st.sampled_from([0, 0, 1, 1000]),
    active_epoch=st.none() | st.integers(0, 5),
    runtime_id=st.none() | st.sampled_from(["r1", "r2", "r3"]),
    variant_source=st.none() | st.just("explore"),
    role=st.none() | st.just("shadow"),
)
scores = st.builds(
    m.Feedback,
    schema_version=st.just(1),
    feedback_id=ids,
    timestamp=st.just(AT),
    agent_name=st.just(AGENT),
    task_type=st.just(TASK),
    invocation_id=ids,
    reward=st.none() | st.floats(-1, 1),
    quality=st.none() | st.floats(0, 1),
)
changes = st.builds(
    m.Change, action=st.sampled_from(["register", "activate", "retire"]), variant_id=st.sampled_from(VARIANTS)
)


def _orders() -> st.SearchStrategy[Any]:
    common = {"expected_epoch": st.none() | st.integers(0, 4)}
    named = [m.ActivateVariant, m.LiftQuarantine, m.AcceptLevel, m.RetireVariant, m.RegisterVariant, m.PinVariant]
    named += [m.StartRollout, m.StartRollout]
    plain = [m.HoldTask, m.ResumeTask, m.UnpinVariant, m.UndoRollback]
    plain += [m.PauseRollout, m.ResumeRollout, m.PromoteRollout, m.AbortRollout]
    reviews = [m.RejectProposal, m.DeferProposal]
    return st.one_of(
        *[st.builds(a_command, st.just(kind), variant_id=st.sampled_from(VARIANTS), **common) for kind in named],
        *[st.builds(a_command, st.just(kind), **common) for kind in plain],
        *[st.builds(a_command, st.just(kind), proposal_id=st.sampled_from(["p1", "p2"])) for kind in reviews],
        st.builds(
            a_command,
            st.just(m.ProposeVariant),
            variant_id=st.sampled_from([*VARIANTS, "v4", "v5"]),
            source=st.just("gepa@1"),
            parent=st.none() | st.sampled_from(VARIANTS),
            configuration=st.none() | st.fixed_dictionaries({"prompt": st.sampled_from(["p", "q"])}),
        ),
        st.builds(a_command, st.just(m.ApproveProposal), proposal_id=st.sampled_from(["p1", "p2"]), change=changes),
    )


histories = st.lists(outcomes | outcomes | outcomes | scores | _orders(), max_size=120)
