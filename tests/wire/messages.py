"""Random messages: any that the contract allows, and texts that differ from them slightly."""

from __future__ import annotations

import json
from typing import Any, get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from crl_stream.core import messages as m
from crl_stream.core.messages.parts import ProposalType
from crl_stream.core.policy import Degradation, Operations, Policy, PolicySet
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import COMMANDS, FLEET_KEY, MESSAGES, POLICY_KEY, TICK_KEY


def tries(count: int) -> settings:
    """Run this many examples, however slow the machine is."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


names = st.one_of(
    st.sampled_from(["backend-architect", "api-design", "default", "a:b", "x" * 128, "0", "..", "-"]),
    st.text("ABCxyz019._:-", min_size=1, max_size=128),
)
instants = st.builds(
    lambda at, fraction: at.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + fraction + "Z",
    st.datetimes(),
    st.one_of(st.just(""), st.text("0123456789", min_size=1, max_size=9).map(".".__add__)),
)
texts = st.one_of(st.text(max_size=60), st.sampled_from(["", ",", '"', "\\", "{", "[", '","x":"', "\u2028", "\x00"]))
units = st.floats(0.0, 1.0)
rewards = st.floats(-1.0, 1.0)
ordinals = st.integers(0, 2**63 - 1)
modifications = st.lists(
    st.builds(
        m.Modification,
        section=st.none() | texts,
        operation=st.none() | st.sampled_from(["append", "prepend", "replace", "remove"]),
        parameter=st.none() | texts,
        value=st.none() | st.integers(-9, 9) | texts | st.booleans() | st.lists(st.integers(0, 9), max_size=2),
    ),
    max_size=2,
)


foreign = st.text(min_size=1, max_size=256)
configurations = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


invocations = st.builds(
    m.Invocation,
    schema_version=st.just(1),
    invocation_id=names,
    timestamp=instants,
    agent_name=names,
    task_type=names,
    variant_id=names,
    status=st.sampled_from(["success", "failure", "error"]),
    reward=maybe(rewards),
    quality=maybe(units),
    error_count=st.sampled_from([0, 0, 1, 1_000_000]),
    duration_seconds=maybe(st.floats(0.0, 1e9)),
    complexity=maybe(st.sampled_from(["low", "medium", "high"])),
    active_epoch=maybe(ordinals),
    variant_source=maybe(st.sampled_from(["live", "stale", "file", "default", "explore", "session"])),
    runtime_id=maybe(names),
    role=maybe(st.sampled_from(["live", "shadow"])),
    provider=maybe(texts),
    model=maybe(texts),
    session_id=maybe(foreign),
    cost=maybe(st.floats(0.0, 1e9)),
    tokens_input=maybe(st.integers(0, 10**9)),
    tokens_output=maybe(st.integers(0, 10**9)),
    trace_id=maybe(foreign),
    metrics=maybe(st.dictionaries(names, st.floats(-1e9, 1e9), max_size=4)),
    evaluator=maybe(foreign),
)
_judgements = st.one_of(
    st.fixed_dictionaries({"reward": rewards}, optional={"quality": units}),
    st.fixed_dictionaries({"quality": units}),
)
feedback = st.builds(
    lambda judgement, **fields: m.Feedback(schema_version=1, **fields, **judgement),
    _judgements,
    feedback_id=names,
    timestamp=instants,
    agent_name=names,
    task_type=names,
    invocation_id=names,
    source=maybe(texts),
    evaluator=maybe(foreign),
)
references = st.builds(
    lambda task, **fields: m.CommandRef(schema_version=1, **fields, **task),
    st.just({}) | st.fixed_dictionaries({"agent_name": names, "task_type": names}),
    command_id=names,
    partition=st.integers(0, 2**31 - 1),
    offset=ordinals,
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)
changes = st.builds(
    m.Change,
    action=st.sampled_from(["register", "activate", "retire"]),
    variant_id=names,
    parent=maybe(names),
    model_tier=maybe(texts),
    temperature=maybe(st.floats(0.0, 2.0)),
    modifications=modifications,
    configuration=maybe(configurations),
    ref=maybe(foreign),
    provider=maybe(texts),
    model=maybe(texts),
)
measures = st.floats(-1e9, 1e9)
claims = st.builds(
    m.CandidateEvidence,
    n=maybe(st.integers(0, 10**9)),
    metric=maybe(foreign),
    score_before=maybe(measures),
    score_after=maybe(measures),
    dataset=maybe(foreign),
    url=maybe(texts),
)
policy_sets = st.builds(
    PolicySet,
    default=st.builds(
        Policy,
        degradation=st.builds(Degradation, guard=st.sampled_from(["none", "evidence"])),
        operations=st.builds(Operations, exploration=units, on_change=st.sampled_from(["next_turn", "next_session"])),
    ),
    agents=st.dictionaries(names, st.just(Policy()), max_size=1),
)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "schema_version": st.just(1),
    "command_id": names,
    "timestamp": instants,
    "actor": texts,
    "reason": texts,
    "expires_at": maybe(instants),
    "agent_name": names,
    "task_type": names,
    "expected_epoch": maybe(ordinals),
    "variant_id": names,
    "untested": st.booleans(),
    "rollback_id": names,
    "proposal_id": names,
    "proposal_type": maybe(st.sampled_from(get_args(ProposalType))),
    "hours": maybe(st.floats(0.01, 8_760.0)),
    "stops": st.sampled_from(["all", "promotions"]),
    "parent": maybe(names),
    "model_tier": maybe(texts),
    "provider": maybe(texts),
    "model": maybe(texts),
    "temperature": maybe(st.floats(0.0, 2.0)),
    "modifications": modifications,
    "configuration": maybe(configurations),
    "ref": maybe(foreign),
    "change": changes,
    "valid_until": maybe(instants),
    "until": maybe(instants),
    "policy": policy_sets,
    "policy_hash": st.text("0123456789abcdef", min_size=16, max_size=16),
    "if_none": st.booleans(),
    "stages": maybe(st.lists(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True), min_size=1, max_size=10)),
    "min_outcomes": maybe(st.integers(1, 10**9)),
    "rollout_id": maybe(names),
    "stage": maybe(st.integers(1, 10)),
    "full": st.booleans(),
    "tag": texts.filter(bool),
    "failing": st.booleans(),
    "incident_id": names,
    "source": foreign,
    "evidence": maybe(claims),
}
_NEEDED: dict[type, dict[str, st.SearchStrategy[Any]]] = {m.ReportTag: {"valid_until": instants}}
"""Fields that some commands may leave out and others may not."""
commands = st.one_of(
    [
        st.builds(kind, **{name: (_FIELDS | _NEEDED.get(kind, {}))[name] for name in kind.__struct_fields__})
        for kind in MESSAGES[COMMANDS]
    ]
)
ticks = st.just(m.Tick(schema_version=1))
inputs = st.one_of(invocations, feedback, references, commands, ticks)
"""Every message that may be sent to the engine."""

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([0, 1, -1, 2, 1.0, 1e308, "feedback", "command_ref", "tick", "2025-11-19T14:30:00Z", "a\n", "a/b"]),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


def key_of(message: Any) -> bytes:
    """Return the key that the contract requires."""
    if isinstance(message, m.Tick) or getattr(message, "type", None) == "tick":
        return TICK_KEY
    agent_name = getattr(message, "agent_name", None)
    if getattr(message, "type", type(message).__name__) in {"HoldAll", "ResumeAll", "ReportTag"}:
        return FLEET_KEY
    return POLICY_KEY if agent_name is None else f"{agent_name}/{message.task_type}".encode()


@st.composite
def with_other_fields(draw: st.DrawFn, message: Any) -> bytes:
    """Generate the message's text with fields removed, added or duplicated, in various spellings."""
    pairs = list(json.loads(encode(message)).items())
    known = [name for name, _ in pairs]
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from([*known, "type", "model", "reward", "error_count"]) | texts)
        where = draw(st.integers(0, len(pairs)))
        match draw(st.sampled_from(["drop", "put", "double"])):
            case "drop":
                pairs = [pair for pair in pairs if pair[0] != name]
            case "put":
                pairs = [pair for pair in pairs if pair[0] != name]
                pairs.insert(where, (name, draw(values)))
            case _:
                pairs.insert(where, (name, dict(pairs).get(name, draw(scalars))))
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:")]))
    ascii_only = draw(st.booleans())
    shown = [
        f"{json.dumps(k, ensure_ascii=ascii_only)}{colon}{json.dumps(v, ensure_ascii=ascii_only)}" for k, v in pairs
    ]
    return ("{" + comma.join(shown) + "}").encode("utf-8", "surrogatepass")


@st.composite
def with_other_bytes(draw: st.DrawFn, message: Any) -> bytes:
    """Generate the message's text with a few bytes removed, inserted or replaced."""
    data = bytearray(encode(message))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 3)))
        data[start:end] = draw(
            st.sampled_from([b"", b",", b'"', b"\\", b"{", b"}", b"[", b"]", b":", b"1", b"-", b"e9", b"\xff"])
            | st.binary(max_size=4)
        )
    return bytes(data)


def mutated(message: Any) -> st.SearchStrategy[bytes]:
    """Generate texts that differ slightly from ``message``; some are valid, most are not."""
    return with_other_fields(message) | with_other_bytes(message)
