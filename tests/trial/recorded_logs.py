"""Logs like those of a real fleet: outcomes, commands and policies, recorded by the driver of the stages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builders import AGENT, a_command, a_policy, invocations
from hypothesis import strategies as st
from msgspec.structs import replace

from crl_stream.core import messages as m
from crl_stream.core.policy import GUIDE, AutoApply, Degradation, Operations, Policy, PolicySet
from crl_stream.settings.policy_file import profile_policy
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.entries import decode_batch
from crl_stream.stages.topology import INLET, MONITOR
from crl_stream.trial.comparison import Comparison, Input, compare
from crl_stream.trial.record import Recorded
from crl_stream.trial.run import Piece, Run
from crl_stream.trial.traffic import TrafficOfTasks

PARTITIONS = 2
QUICK = Degradation(lookback_window=8, min_recent=4, min_baseline=8, clean_verdicts=4)


def a_set(**sections: Any) -> PolicySet:
    return PolicySet(Policy(**sections))


POLICIES = [
    GUIDE,
    profile_policy("production"),
    a_set(degradation=QUICK),
    a_set(degradation=replace(QUICK, success_drop=0.4, error_increase=1.0, reward_drop=0.6)),
    a_set(degradation=QUICK, auto_apply=AutoApply(q_threshold=0.5, min_samples=5, cooldown=5)),
    a_set(degradation=QUICK, operations=Operations(mode="shadow")),
    a_set(degradation=QUICK, operations=Operations(mode="observe")),
]
policies = st.sampled_from(POLICIES)
segments = st.tuples(
    st.sampled_from(["t1", "t2"]),
    st.sampled_from(["a", "b", "c"]),
    st.text("SSSSFE", min_size=3, max_size=25) | st.text("FE", min_size=4, max_size=12),
    st.sampled_from([None, "explore"]),
)
commands = st.sampled_from(
    [
        lambda: a_command(m.ActivateVariant, task_type="t1", variant_id="b"),
        lambda: a_command(m.UndoRollback, task_type="t1"),
        lambda: a_command(m.PinVariant, task_type="t2"),
        lambda: a_command(m.HoldTask, task_type="t2"),
        lambda: a_command(m.ActivateVariant, task_type="t2", variant_id="c", expected_epoch=2),
        lambda: m.Tick(schema_version=1),
    ]
)
stories = st.lists(segments | segments | segments | commands, min_size=4, max_size=14)


def record(story: list[Any], policy: PolicySet | None = None, *, at: int = 0) -> TopologyDriver:
    """Record the log of a fleet's story; ``policy`` is set before part number ``at``."""
    driver = TopologyDriver(partitions=PARTITIONS)
    for number, part in enumerate(story):
        if policy is not None and number == at:
            driver.pipe(a_policy(policy))
        driver.pipe(*(outcomes(part) if isinstance(part, tuple) else [part()]))
    return driver


def outcomes(segment: tuple[str, str, str, str | None]) -> list[m.Invocation]:
    task, variant, letters, source = segment
    return invocations(variant, letters, task_type=task, variant_source=source, agent_name=AGENT)


def pieces(driver: TopologyDriver, size: int = 10_000) -> Iterator[Piece]:
    """Yield a recorded log as a trial reads it, in pieces of ``size`` records."""
    stored = driver.topics[INLET.source]
    known = {(p, record.offset): record.value for p, log in enumerate(stored) for record in log}
    for partition, log in enumerate(driver.topics[MONITOR.source]):
        for first in range(0, len(log), size):
            yield Piece(partition, decode_batch(log[first : first + size]), known)


def run(driver: TopologyDriver, policy: PolicySet | None, size: int = 10_000) -> Run:
    """Fold a recorded log under ``policy``, or under the policies that the log itself sets."""
    found = Run(PARTITIONS, policy)
    for piece in pieces(driver, size):
        found.fold(piece)
    return found


def compared(
    driver: TopologyDriver, one: PolicySet | None, other: PolicySet | None, recorded: Recorded | None = None
) -> Comparison:
    """Compare two policies on a recorded log."""
    traffic = TrafficOfTasks(PARTITIONS)
    for piece in pieces(driver):
        traffic.add(piece.partition, piece.entries)
    source = Input("file", "a-log.jsonl", "0" * 64, sum(map(len, traffic.values())), "", "", [])
    return compare(("one", run(driver, one)), ("other", run(driver, other)), traffic, source, recorded)


def facts(driver: TopologyDriver) -> list[tuple[str, Any]]:
    """Return everything that was published on the topics of decisions, with the topic of each."""
    topics = ("crl.alerts", "crl.decisions", "crl.rollbacks")
    return [(topic, fact) for topic in topics for fact in driver.read(topic)]
