"""No policy in force can lead to a record too large for its topic; a policy that could is refused."""

from __future__ import annotations

import msgspec
import pytest
from builders import a_command, a_policy
from hypothesis import given
from settings.resolving import refusal, resolve

from core.test_policy import sets
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.monitor.filing import MAX_FILED, MAX_OPEN
from crl_stream.core.monitor.registration import MAX_CONFIGURATIONS
from crl_stream.core.monitor.row import (
    OUTCOME,
    Configuration,
    Declined,
    Filed,
    Filings,
    Review,
    Runtime,
    StandingOrder,
    TaskRow,
    Variant,
    encode_row,
    new_row,
)
from crl_stream.core.monitor.snapshot import task_snapshot
from crl_stream.core.monitor.turn import Context
from crl_stream.core.policy import GUIDE, Degradation, Limits, Policy, PolicySet
from crl_stream.core.policy_size import MAX_POLICY, MAX_TASK, task_bytes, too_large
from crl_stream.kafka.fleet_policy import encode_policy
from crl_stream.settings.profiles import PROFILES
from crl_stream.wire import reasons
from crl_stream.wire.codec import Rejected, decode, encode
from crl_stream.wire.topics import COMMANDS, POLICY_KEY

LONG = "\x01" * 2_000
"""The longest text that a field accepts, in characters that take six bytes each in JSON."""


def a_policy_of(variants: int, window: int, reviews: int, runtimes: int = 64) -> Policy:
    return Policy(
        degradation=Degradation(lookback_window=window),
        limits=Limits(variants=variants, reviews=reviews, runtimes=runtimes),
    )


def named(letter: str, number: int) -> str:
    return f"{letter}{number}".ljust(128, "x")


def the_largest_filing(number: int) -> Filed:
    """Build a filed proposal of exactly the largest size."""
    change = m.Change(action="register", variant_id=named("f", number), configuration={"p": ""})
    filing = m.Filing(command_id="c" * 128, actor=LONG, source=LONG[:256], reason="")
    filed = m.FiledProposal(
        proposal_id="p" * 40,
        timestamp="2025-11-19T14:30:00.000Z",
        expires_at="2025-11-19T14:30:00.000Z",
        change=change,
        filing=filing,
    )
    rest = MAX_FILED - len(msgspec.json.encode(filed))
    change = msgspec.structs.replace(change, configuration={"p": "p" * rest})
    content = msgspec.json.encode(msgspec.structs.replace(filed, change=change))
    assert len(content) == MAX_FILED
    return Filed("p" * 40, change.variant_id, 2**41, content)


def the_largest_row(policy: Policy) -> TaskRow:
    """Build a row in which everything is as long as possible, at a very high position in the log."""
    row = new_row(TaskKey("a" * 128, "t" * 128))
    far = 2**62
    row.n = row.offset = row.time = 2**41
    outcome = OUTCOME.pack(far, 2**64 - 1, -999_999, 1, 1, 255, 2 + 4 + 16)
    share = MAX_CONFIGURATIONS // policy.limits.variants // 4
    for number in range(policy.limits.variants):
        name = named("v", number)
        known = Configuration(named("p", number), "m" * share, "p" * share, "q" * share)
        row.variants[name] = variant = Variant(name, configuration=known, quarantined=True, alert_id="d" * 40)
        variant.window = bytearray(outcome * policy.degradation.lookback_window)
        variant.life.n = variant.life.reward = variant.judged.n = far
    row.active = row.previous = named("v", 0)
    row.pinned = row.held = StandingOrder(LONG, LONG, 0, 2**41, 2**41, named("v", 1))
    row.reviews = [
        Review(named("p", n), "approve", "refused", LONG, LONG, LONG + LONG, 2**41, "c" * 128, "2026-01-01T00:00:00Z")
        for n in range(policy.limits.reviews)
    ]
    row.runtimes = {named("r", number): Runtime(1, 2**41, far, 2**41) for number in range(policy.limits.runtimes)}
    row.epoch = far
    row.ids = bytearray(8 * policy.limits.duplicate_ids)
    row.filings = Filings(
        [the_largest_filing(number) for number in range(MAX_OPEN)], [Declined(b"8" * 8, 10**9, "p" * 40)] * 16
    )
    return row


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        a_policy_of(2, 1_000, 60),
        a_policy_of(60, 1_000, 4),
        a_policy_of(700, 20, 1),
        a_policy_of(2, 2, 40, 1_000),
    ],
    ids=["defaults", "long windows", "many outcomes", "many variants", "many runtimes"],
)
def test_the_largest_task_that_a_policy_allows_fits_its_topics(policy: Policy) -> None:
    assert task_bytes(policy) <= MAX_TASK
    row = the_largest_row(policy)
    hold = StandingOrder(LONG, LONG, 0, 2**41)
    snapshot = task_snapshot(row, Context(7, row.offset, row.time, 0, "0" * 16, hold), policy)
    assert len(encode(snapshot)) <= task_bytes(policy)
    assert len(encode_row(row)) <= task_bytes(policy)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("limits.reviews", "4096", "limits.reviews = 4096"),
        ("limits.variants", "1000", "limits.variants = 1000"),
        ("agents.a.limits.reviews", "100", "agents.a.limits.reviews = 100"),
        ("tasks.a/t.limits.variants", "1000", 'tasks."a/t".limits.variants = 1000'),
    ],
)
def test_settings_under_which_a_task_would_not_fit_are_refused_with_the_limit(
    setting: str, value: str, said: str
) -> None:
    error = refusal(flags={setting: value})
    assert said in error.message
    assert "a record can hold 3,900,000" in error.message
    assert error.hint is not None


def test_a_policy_that_no_command_holds_is_refused_and_one_below_the_limit_is_sent() -> None:
    def overrides(count: int) -> dict[str, str]:
        return {f"tasks.agent/task-{n}.degradation.lookback_window": "30" for n in range(count)}

    assert f"a command can hold {MAX_POLICY:,}" in refusal(flags=overrides(2_000)).message
    policies = resolve(flags=overrides(500)).policies
    command = a_policy(policies)
    assert len(encode(command)) > 65_536, "the full encoding, which older releases sent, would be a dead letter"
    decoded = decode(COMMANDS, encode_policy(command), POLICY_KEY)
    assert not isinstance(decoded, Rejected)
    assert decoded.message == command


@given(sets)
def test_a_policy_is_read_from_what_differs_from_the_guide_as_it_was(policies: PolicySet) -> None:
    command = a_policy(policies)
    decoded = decode(COMMANDS, encode_policy(command), POLICY_KEY)
    if too_large(policies) is not None:
        assert isinstance(decoded, Rejected)
        assert decoded.reason == reasons.OUT_OF_RANGE
    else:
        assert not isinstance(decoded, Rejected)
        assert decoded.message == command


def test_a_policy_that_came_from_elsewhere_and_is_too_large_is_a_dead_letter() -> None:
    policies = PolicySet(a_policy_of(1_000, 1_000, 32))
    decoded = decode(
        COMMANDS, encode(a_command(m.SetPolicy, policy=policies, policy_hash=policies.digest())), POLICY_KEY
    )
    assert isinstance(decoded, Rejected)
    assert (decoded.reason, "a record can hold" in decoded.detail) == (reasons.OUT_OF_RANGE, True)


def test_the_profiles_and_the_guide_are_far_from_the_limit() -> None:
    assert task_bytes(GUIDE.default) < MAX_TASK * 2 // 3
    for profile in PROFILES:
        policies = resolve(flags={"profile": profile}).policies
        assert too_large(policies) is None
        assert len(msgspec.json.encode(policies)) < MAX_POLICY
