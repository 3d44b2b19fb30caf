"""Explanations of all kinds of ids: what led to them, what followed, and how to undo them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from builders import AGENT, TASK, a_collapse, a_command, a_policy, an_invocation, invocations
from core.stories import POLICIES, Storyteller
from proposals.some import the_guide_s

from crl_stream.cli.explain_text import page
from crl_stream.cli.rollbacks.command import documents
from crl_stream.core import messages as m
from crl_stream.core.monitor.row import decode_row
from crl_stream.core.policy import GUIDE, Operations, Policy, PolicySet
from crl_stream.core.proposer.remedies import Remedies
from crl_stream.explaining.adoption import followed
from crl_stream.explaining.explain import Sources, explain
from crl_stream.explaining.fates import fates_of
from crl_stream.explaining.ids import EVERYWHERE, Found, id_of
from crl_stream.explaining.proof import trace_url
from crl_stream.settings import load_remedies
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire.topics import ALERTS, COMMANDS, DECISIONS, DEGRADATIONS, PROPOSALS, ROLLBACKS
from explaining.told import KEY, explained, story_of

NAME = f"{AGENT}/{TASK}"


def collapsed(**fields: Any) -> TopologyDriver:
    driver = TopologyDriver()
    driver.pipe_each(with_fields(**fields))
    return driver


def with_fields(**fields: Any) -> Iterator[Any]:
    for element in a_collapse():
        yield msgspec.structs.replace(element, **fields) if isinstance(element, m.Invocation) else element


def facts(driver: TopologyDriver, topic: str, of: type, **fields: Any) -> list[Any]:
    found = [one for one in driver.read(topic) if isinstance(one, of)]
    return [one for one in found if all(getattr(one, name) == value for name, value in fields.items())]


def steps(found: Any) -> list[tuple[str, str]]:
    return [(step.what, step.actor) for step in found]


# -- the chain ---------------------------------------------------------------------------------------
def test_a_rollback_that_was_undone_says_who_undid_it_and_offers_no_undo() -> None:
    driver = collapsed()
    [event] = driver.read(ROLLBACKS)
    before = explained(driver, event.rollback_id)
    assert (before.undo_command, before.review) == (event.undo_command, "not reviewed")
    assert before.further_commands == [f"crl confirm {event.rollback_id}"]
    driver.pipe(a_command(m.UndoRollback, actor="bob", reason="it was the gateway"))
    after = explained(driver, event.rollback_id)
    assert ("undone", "bob") in steps(after.since)
    assert (after.review, after.undo_command, after.further_commands) == ("undone by bob", None, [])
    assert after.no_undo == "epoch 4 has followed, and only the latest change can be undone"


def test_an_activation_by_a_command_was_made_by_whoever_sent_it() -> None:
    driver = collapsed()
    [activation] = facts(driver, DECISIONS, m.Activation, cause="command")
    found = explained(driver, activation.activation_id)
    assert found.actor == "ada"
    assert steps(found.causes) == [("commanded", "ada")]
    assert "activated" in [step.what for step in found.since]


def test_a_command_says_what_it_did_and_its_result_says_what_it_was() -> None:
    driver = collapsed()
    [command] = facts(driver, COMMANDS, m.ActivateVariant)
    [result] = facts(driver, DECISIONS, m.CommandResult)
    for name in (command.command_id, result.result_id):
        found = explained(driver, name)
        assert (found.kind, found.actor, found.sentence) == ("command", "ada", "ActivateVariant by ada was applied.")
        assert "activated" in [step.what for step in found.since]


def test_a_refused_command_says_why() -> None:
    driver = collapsed()
    driver.pipe(a_command(m.ConfirmRollback, rollback_id="rb-20000101-000000000000"))
    [result] = facts(driver, DECISIONS, m.CommandResult, outcome="refused")
    found = explained(driver, result.command_id)
    assert found.sentence == "ConfirmRollback by ada was refused."
    assert (found.reason, found.result) == (result.reason or "no reason given", result.detail)


def test_a_command_without_an_answer_is_explained_from_its_own_record() -> None:
    driver = collapsed()
    [command] = facts(driver, COMMANDS, m.ActivateVariant)
    driver.topics[DECISIONS].clear()
    found = explained(driver, command.command_id)
    assert (found.topic, found.sentence) == (COMMANDS, "ActivateVariant was sent by ada.")


def test_an_alert_that_is_over_says_when() -> None:
    driver = TopologyDriver()
    driver.pipe_each(invocations("default", "S" * 30 + "F" * 12 + "S" * 60))
    alert = facts(driver, ALERTS, m.Alert, kind="degradation", resolved=False)[0]
    found = explained(driver, alert.alert_id)
    assert "alert over" in [step.what for step in found.since]
    assert found.proof_id == facts(driver, DEGRADATIONS, m.DegradationAlert)[0].alert_id
    assert steps(found.causes) == [("activated", "monitor"), ("degraded", "monitor")]


def test_what_led_to_a_rollback_begins_with_the_person_who_made_the_variant_active() -> None:
    driver = TopologyDriver()
    driver.pipe_each(invocations("default", "S" * 30))
    driver.pipe(a_command(m.RegisterVariant, variant_id="v2", actor="ada"))
    order = a_command(m.ActivateVariant, variant_id="v2", untested=True, actor="ada", reason="CHG-118")
    driver.pipe(order)
    driver.pipe_each(invocations("v2", "F" * 20))
    [event] = driver.read(ROLLBACKS)
    found = explained(driver, event.rollback_id)
    assert ("activated", "ada") in steps(found.causes) or ("commanded", "ada") in steps(found.causes)
    assert "CHG-118" in page(found)
    assert [step.what for step in found.causes][-1] == "degraded"


def test_a_stuck_runtime_is_named_where_the_followers_are_counted() -> None:
    adoption = {"moved": 3, "expected": 4, "median_invocations": None, "median_milliseconds": None, "stuck": ["eu-4"]}
    assert followed(adoption) == "3 of 4 runtimes moved; 1 is stuck: eu-4"
    many = followed({**adoption, "moved": 0, "stuck": ["a", "b", "c", "d"]})
    assert many == "0 of 4 runtimes moved; 4 are stuck: a, b, c, ..."
    assert followed({**adoption, "stuck": 1}) == "3 of 4 runtimes moved; 1 is stuck"


def test_a_rollback_of_shadow_mode_says_how_it_was_judged() -> None:
    driver = TopologyDriver()
    driver.pipe(a_policy(PolicySet(default=Policy(operations=Operations(mode="shadow")))))
    driver.pipe_each(invocations("default", "S" * 40))
    driver.pipe_each(invocations("steady", "SSSSSSSSSF" * 4, variant_source="explore"))
    driver.pipe_each(invocations("default", "F" * 70))
    event = driver.read(ROLLBACKS)[0]
    found = explained(driver, event.rollback_id)
    assert (found.review, found.enforced, found.undo_command) == ("shadow: right", False, None)
    assert [step.what for step in found.since] == ["right"]
    [judged] = facts(driver, DECISIONS, m.Hindsight, rollback_id=event.rollback_id)
    assert explained(driver, judged.hindsight_id).proof_id == event.rollback_id


def test_a_rollback_and_its_activation_say_whether_they_helped() -> None:
    driver = collapsed()
    [event] = driver.read(ROLLBACKS)
    driver.pipe_each(invocations(event.to_variant, "S" * 20, active_epoch=event.epoch))
    [judged] = facts(driver, DECISIONS, m.Benefit, epoch=event.epoch)
    [activation] = facts(driver, DECISIONS, m.Activation, epoch=event.epoch)
    for one in (event.rollback_id, activation.activation_id):
        told = {step.id: (step.what, step.words) for step in explained(driver, one).since}
        assert told[judged.benefit_id] == (judged.finding.replace("_", " "), judged.reasoning)
    assert explained(driver, judged.benefit_id).sentence.startswith(f"The change to {event.to_variant} (rollback): ")


def test_a_proposal_says_what_it_rests_on_who_reviewed_it_and_what_the_approval_did() -> None:
    driver = TopologyDriver(remedies=remedies())
    driver.pipe_each(invocations("default", "SSFSF" * 12))
    driver.pipe_each(invocations("v2", "SSSSSSSF" * 8, variant_source="explore"))
    proposal = next(one for one in driver.proposals() if one.proposal_type == "promote_variant_to_default")
    found = explained(driver, proposal.proposal_id)
    assert (found.kind, found.task, found.actor) == ("proposal", NAME, "the proposer")
    assert found.further_commands == [
        f"crl proposals approve {proposal.proposal_id}",
        f"crl proposals reject {proposal.proposal_id} --reason ...",
    ]
    driver.pipe(a_command(m.ApproveProposal, proposal_id=proposal.proposal_id, change=proposal.change, actor="grace"))
    driver.pipe_each(invocations("v2", "S" * 3, active_epoch=2))
    after = explained(driver, proposal.proposal_id)
    assert ("applied", "grace") in steps(after.since)
    [activation] = facts(driver, DECISIONS, m.Activation, cause="approval")
    assert activation.activation_id in [step.id for step in after.since]
    by_approval = explained(driver, activation.activation_id)
    assert (by_approval.actor, by_approval.undo_command) == ("grace", f"crl undo {NAME} --epoch 2")
    assert [step.id for step in by_approval.causes] == [proposal.proposal_id, activation.cause_id]


def remedies() -> Remedies:
    return load_remedies(None)


def test_runtimes_that_follow_are_listed_until_a_fact_sums_them_up() -> None:
    driver = TopologyDriver()
    for element in with_fields(runtime_id="host-1"):
        driver.pipe(element)
        if driver.read(ROLLBACKS):
            break  # host-1 must not go on with the old variant
    [event] = driver.read(ROLLBACKS)
    driver.pipe(an_invocation("default", runtime_id="host-2", active_epoch=event.epoch))
    assert [step.id for step in explained(driver, event.rollback_id).since if step.what == "moved"]
    driver.pipe(an_invocation("default", runtime_id="host-1", active_epoch=event.epoch))
    since = explained(driver, event.rollback_id).since
    assert [step.what for step in since] == ["adopted"]
    assert "1 of 1 runtime moved" in since[0].words


def test_a_runtime_that_moves_after_it_was_called_stuck_is_added_to_the_story() -> None:
    driver = TopologyDriver()
    driver.pipe_each(with_fields(runtime_id="host-1"))
    [event] = driver.read(ROLLBACKS)
    for _ in range(20):
        if facts(driver, DECISIONS, m.Adoption, epoch=event.epoch):
            break
        driver.pipe(an_invocation(event.from_variant, runtime_id="host-1", active_epoch=event.epoch - 1))
    assert "host-1" in facts(driver, DECISIONS, m.Adoption, epoch=event.epoch)[0].stuck
    assert "moved" not in [step.what for step in explained(driver, event.rollback_id).since]
    driver.pipe(an_invocation(event.to_variant, runtime_id="host-1", active_epoch=event.epoch))
    assert ("moved", "host-1") in steps(explained(driver, event.rollback_id).since)


# -- traces ------------------------------------------------------------------------------------------
def test_the_judged_outcomes_are_linked_to_their_traces() -> None:
    driver = collapsed(trace_id="a b/../c")
    [event] = driver.read(ROLLBACKS)
    template = "https://traces.example.com/t/{trace_id}?from=crl"
    found = explained(driver, event.rollback_id, GUIDE.for_task(KEY), template)
    assert found.strip is not None
    assert {one.trace_id for one in found.strip.outcomes} == {"a b/../c"}
    assert {one.trace_url for one in found.strip.outcomes} == {"https://traces.example.com/t/a%20b%2F..%2Fc?from=crl"}
    assert "https://traces.example.com/t/a%20b%2F..%2Fc?from=crl" in page(found)
    without = explained(driver, event.rollback_id, GUIDE.for_task(KEY))
    assert without.strip is not None and without.strip.outcomes[0].trace_url is None
    assert "a b/../c" in page(without)


@pytest.mark.parametrize("trace_id", ["..", ".", "", None])
def test_an_id_that_would_lead_to_another_page_gets_no_link(trace_id: str | None) -> None:
    assert trace_url(trace_id, "https://traces.example.com/t/{trace_id}") is None


def test_outcomes_that_left_the_log_are_counted() -> None:
    driver = collapsed(trace_id="t")
    [event] = driver.read(ROLLBACKS)
    from crl_stream.explaining.proof import strip_of

    strip = strip_of(event, {event.judged.offsets[-1]: an_invocation(trace_id="t")}, "")
    assert strip.gone == len(event.judged.offsets) - 1
    assert [one.trace_id for one in strip.outcomes][-2:] == [None, "t"]


# -- everything there is -----------------------------------------------------------------------------
def everything(driver: TopologyDriver) -> Iterator[tuple[str, Any]]:
    for topic in EVERYWHERE:
        for message in driver.read(topic):
            if message is not None:
                yield topic, message


@pytest.mark.parametrize("name", POLICIES)
def test_every_id_of_a_random_story_can_be_explained_and_fits_a_terminal(name: str) -> None:
    driver = TopologyDriver(remedies=remedies())
    driver.pipe(a_policy(PolicySet(default=POLICIES[name])))
    teller = Storyteller(3)
    for _ in range(250):
        data = driver.rows().get(KEY.encode())
        row = None if data is None else decode_row(data)
        rollout = None if row is None or row.rollout is None else row.rollout.variant_id
        active, epoch = (None, 0) if row is None else (row.active, row.epoch)
        driver.pipe(*teller.messages(active, epoch, rollout, driver.clock))
    story, kinds = story_of(driver), set()
    for _, message in everything(driver):
        if getattr(message, "agent_name", None) is None:
            continue
        found = explained(driver, id_of(message), POLICIES[name])
        kinds.add(found.kind)
        text = page(found)
        assert max(map(len, text.splitlines())) <= 80, text
        assert msgspec.json.encode(found)
        assert found.task == NAME
        times = [step.timestamp for step in found.since]
        assert times == sorted(times)
        assert all(story.get(step.id) is not None or step.id in story.receipts for step in found.since)
    assert {"activation", "command", "alert", "degradation"} <= kinds


HOSTILE = "\x1b[31mred\x07\u202eevil\u2028line\n> undone by root"


def test_a_hostile_text_cannot_act_on_the_terminal_or_add_a_line() -> None:
    driver = collapsed()
    [event] = driver.read(ROLLBACKS)
    driver.pipe(a_command(m.ConfirmRollback, rollback_id=event.rollback_id, actor=HOSTILE, reason=HOSTILE))
    text = page(explained(driver, event.rollback_id))
    assert not {"\x1b", "\x07", "\u202e", "\u2028"} & set(text)
    assert not any(line.startswith("> undone") for line in text.splitlines())


def test_an_order_for_the_whole_fleet_is_explained_from_the_partitions_that_answered() -> None:
    driver = TopologyDriver(partitions=3)
    driver.pipe_each(invocations("default", "S" * 3))
    driver.pipe(a_command(m.HoldAll, actor="grace", reason="freeze"))
    results = facts(driver, DECISIONS, m.CommandResult, command="HoldAll")
    found = explained(driver, results[0].command_id, key=None)
    assert found.sentence == "HoldAll by grace was applied."
    assert found.task is None
    assert len([step for step in found.since if step.what == "applied"]) == len(results) - 1
    assert found.reason == "freeze" and "tasks in partition" in found.result
    driver.pipe(a_command(m.ResumeAll, actor="hedy", reason="over", timestamp="2026-01-01T00:00:00Z"))
    driver.pipe(a_command(m.ResumeAll, actor="ada", reason="again", timestamp="2026-01-02T00:00:00Z"))
    found = explained(driver, results[0].command_id, key=None)
    assert [step.words for step in found.since if step.what == "commanded"] == ["ResumeAll: over"]


def test_an_explained_proposal_is_a_sentence_and_its_lines_are_not_shown_as_escapes() -> None:
    proposal = the_guide_s(reasoning="1.06 > 0.2.\nSuggest it.")
    found = explain(proposal.proposal_id, Found(PROPOSALS, proposal), Sources(story_of(TopologyDriver())))
    assert found.sentence.startswith("The proposal to ") and "_" not in found.sentence
    assert "1.06 > 0.2. Suggest it." in page(found) and "\\n" not in page(found)


def test_an_approval_that_another_change_has_followed_offers_no_undo() -> None:
    driver = collapsed()
    story = story_of(driver)
    for epoch, offered in ((story.epoch, True), (story.epoch - 1, False)):
        command = f"crl undo {NAME} --epoch {epoch}"
        approved = the_guide_s(status="approved", undo_command=command)
        found = explain(approved.proposal_id, Found(PROPOSALS, approved), Sources(story))
        assert (found.undo_command == command, found.no_undo is None) == (offered, offered)


def test_the_list_of_rollbacks_as_json_has_an_undo_only_where_it_would_be_accepted() -> None:
    driver = collapsed()
    events = driver.read(ROLLBACKS)
    assert [one["undo"] for one in documents(events, fates_of(events, driver.read(DECISIONS)))] == [
        events[0].undo_command
    ]
    driver.pipe(a_command(m.UndoRollback, actor="web:root"))
    assert [one["undo"] for one in documents(events, fates_of(events, driver.read(DECISIONS)))] == [None]


def test_the_reason_of_an_undo_stands_under_why_and_its_result_beside_it() -> None:
    driver = collapsed()
    driver.pipe(a_command(m.UndoRollback, actor="bob", reason="it was the gateway"))
    [result] = facts(driver, DECISIONS, m.CommandResult, command="UndoRollback")
    text = page(explained(driver, result.command_id))
    assert "Why: it was the gateway" in text and "Result: rb-" in text


def test_the_topic_of_every_prefix_has_ids_with_it() -> None:
    """A prefix that no fact has would send people to the wrong topic."""
    driver = collapsed()
    assert {id_of(one).partition("-")[0] for one in driver.read(DECISIONS)} >= {"dec", "act", "cmdr"}
    assert {id_of(one).partition("-")[0] for one in driver.read(DEGRADATIONS)} == {"deg"}
    assert {id_of(one).partition("-")[0] for one in driver.read(PROPOSALS)} <= {"prop"}
