"""Whatever commands and messages are sent, every resulting record fits into its topic."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_command, an_invocation

from crl_stream.contract import load_catalog
from crl_stream.core import messages as m
from crl_stream.core.monitor.filing import MAX_OPEN
from crl_stream.settings import load_remedies
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire.records import record_size
from crl_stream.wire.topics import COMMANDS, DECISIONS, VARIANTS

LONG = "\x01" * 2_000
"""The longest text that a field accepts, made of a character that takes six characters in JSON."""
MARGIN = 1_000


def a_name(number: int) -> str:
    return f"v{number}".ljust(128, "x")


def a_registration(number: int, size: int) -> Any:
    change = m.Modification(section="system", operation="replace", content="p" * size)
    return a_command(m.RegisterVariant, variant_id=f"v{number}", modifications=[change])


def assert_every_record_fits(driver: TopologyDriver) -> None:
    catalog = load_catalog()
    for topic, logs in driver.topics.items():
        limit = catalog[topic].max_message_bytes - MARGIN
        sizes = [record_size(r.key, r.value, r.headers) for log in logs for r in log]
        assert max(sizes, default=0) <= limit, topic
    for changelog in [*driver.changelog, *driver.proposals_changelog]:
        assert all(len(row) < 3_900_000 for row in changelog.values())


def test_registrations_beyond_what_the_topic_takes_are_refused_with_the_limit() -> None:
    driver = TopologyDriver()
    driver.pipe(an_invocation("default"))
    driver.pipe_each([a_registration(number, 60_000) for number in range(20)])
    results = [r for r in driver.read(DECISIONS) if isinstance(r, m.CommandResult)]
    refused = [r for r in results if r.outcome == "refused"]
    assert len(results) == 20
    assert 0 < len(refused) < 20
    assert all("may take 600000" in r.detail and "takes 60" in r.detail for r in refused)
    known = {v.variant_id for v in driver.read(VARIANTS)[-1].variants}
    assert known == {"default", *(f"v{number}" for number in range(20 - len(refused)))}
    assert_every_record_fits(driver)


def test_what_was_refused_for_its_size_is_accepted_when_it_is_smaller_and_replaces_what_it_was() -> None:
    driver = TopologyDriver()
    driver.pipe(an_invocation("default"), *[a_registration(number, 59_000) for number in range(10)])
    driver.pipe(a_registration(10, 59_000), a_registration(10, 500), a_registration(0, 59_500))
    *_, refused, smaller, again = [r for r in driver.read(DECISIONS) if isinstance(r, m.CommandResult)]
    assert (refused.outcome, smaller.outcome, again.outcome) == ("refused", "applied", "applied")


def test_the_largest_candidates_from_outside_fit_with_everything_that_reviewers_say() -> None:
    """They are in the snapshot, in both rows, and in each revision of their proposals."""
    driver = TopologyDriver(partitions=1, remedies=load_remedies())
    driver.pipe(an_invocation("default"))
    for number in range(MAX_OPEN):
        change = m.Modification(section="system", operation="replace", content="p" * 7_000)
        prompt = {"prompt": "p" * 16_300}
        driver.pipe(
            a_command(
                m.ProposeVariant, variant_id=f"c{number}", source="s", configuration=prompt, modifications=[change]
            )
        )
    waiting = [p for p in driver.proposals() if p.trigger == "external"]
    assert len(waiting) == MAX_OPEN
    for _ in range(25):
        for proposal in waiting:
            driver.pipe(a_command(m.DeferProposal, proposal_id=proposal.proposal_id, actor=LONG, reason=LONG))
    assert {p.revision for p in driver.proposals() if p.trigger == "external"} == {26}
    assert_every_record_fits(driver)


@pytest.mark.parametrize("batched", [True, False])
def test_the_longest_orders_and_names_there_can_be_make_no_record_too_large(*, batched: bool) -> None:
    driver = TopologyDriver(partitions=1)
    long: dict[str, Any] = {"agent_name": "a" * 128, "task_type": "t" * 128}
    texts: dict[str, Any] = {"actor": LONG, "reason": LONG}
    change = m.Modification(section="system", operation="replace", content=LONG[:300])
    elements: list[Any] = []
    for number in range(34):
        elements += [
            a_command(
                m.RegisterVariant,
                variant_id=a_name(number),
                parent=a_name(0),
                model_tier=LONG,
                provider=LONG,
                model=LONG,
                modifications=[change],
                **long,
                **texts,
            ),
            an_invocation(
                a_name(number), "failure", **long, runtime_id=f"r{number}".ljust(128, "x"), provider=LONG, model=LONG
            ),
            a_command(m.RejectProposal, proposal_id=f"p{number}".ljust(128, "x"), **long, **texts),
            a_command(m.RejectProposal, proposal_id=f"p{number}".ljust(128, "x"), **long, **texts),
        ]
    for kind in (m.HoldTask, m.PinVariant, m.ResumeTask, m.UnpinVariant, m.HoldTask, m.PinVariant):
        elements.append(a_command(kind, **long, **texts))
    elements += [an_invocation(a_name(0), status, **long) for status in ["success"] * 60 + ["failure"] * 30]
    if batched:
        driver.pipe(*elements)
    else:
        driver.pipe_each(elements)
    assert driver.read(COMMANDS)
    assert_every_record_fits(driver)
