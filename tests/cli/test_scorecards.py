"""How the scorecard of shadow mode is shown: by ``crl window``, ``crl status``, ``crl rollbacks`` and ``crl tail``."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from builders import AGENT, TASK, a_command, a_policy, invocations
from explaining.told import explained
from proposals.some import NOW, another

from cli.program import Program
from cli.views import a_brief, serving
from crl_stream.cli.explain_text import page
from crl_stream.cli.proposals.enforcing import enforce
from crl_stream.cli.scorecards import fleet_scorecard, scorecard_note, task_scorecard
from crl_stream.cli.status_text import Seen
from crl_stream.cli.tail import line_of
from crl_stream.contract import contract_root
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.policy import Operations, Policy, PolicySet
from crl_stream.dashboard.task_states import brief
from crl_stream.errors import Unavailable, UsageError
from crl_stream.explaining.fates import Event, status_of
from crl_stream.explaining.fates import judged as as_event
from crl_stream.guide.variant_proposer import VariantProposer
from crl_stream.kafka.reader import Received
from crl_stream.proposals.page import effect
from crl_stream.proposals.page import page as proposal_page
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire import topics

CARD = {"right": 9, "wrong": 0, "open": 0, "avoidable": 212, "caused": 0}


def in_shadow(*chapters: str) -> TopologyDriver:
    """Return a driver whose task ran in shadow mode: ``default`` had these outcomes, ``steady`` is the target."""
    driver = TopologyDriver()
    driver.pipe(a_policy(PolicySet(default=Policy(operations=Operations(mode="shadow")))))
    driver.pipe_each(invocations("default", "S" * 40))
    driver.pipe_each(invocations("steady", "SSSSSSSSSF" * 4, variant_source="explore"))
    for letters in chapters:
        driver.pipe_each(invocations("default", letters))
    return driver


def example() -> m.Hindsight:
    path = contract_root() / "examples" / "crl.decisions" / "Hindsight-right.json"
    return msgspec.json.decode(path.read_bytes(), type=m.Hindsight)


# -- the scorecard of a task and of a fleet -----------------------------------------------------------
def test_a_window_shows_the_score_and_what_is_being_judged(crl: Program) -> None:
    driver = in_shadow("F" * 70, "S" * 80, "F" * 30)
    snapshot = msgspec.to_builtins(driver.snapshot(AGENT, TASK))
    with serving([], review=snapshot) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        text, document = crl.run("window", f"{AGENT}/review"), crl.run("window", f"{AGENT}/review", "--json")
    card = json.loads(document.out)["scorecard"]
    words = " ".join(text.out.split())
    assert "rollbacks in shadow mode: 1 of 1 right, 45 bad invocations avoidable" in words
    assert f"{card['watched']} (only reported) is being judged: {card['watched_outcomes']} of 50 outcomes" in words
    assert all(len(line) <= 80 for line in task_scorecard(snapshot))


def test_a_task_without_a_score_shows_none() -> None:
    assert list(task_scorecard({})) == list(task_scorecard({"scorecard": None})) == []


def test_the_status_has_one_line_for_the_whole_fleet(crl: Program) -> None:
    tasks = [a_brief("a", mode="shadow", scorecard=CARD), a_brief("b", mode="shadow", scorecard=CARD | {"wrong": 2})]
    with serving([*tasks, a_brief("c", scorecard=None), a_brief("d")]) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        check, document = crl.run("status", "--check"), json.loads(crl.run("status", "--json").out)
    line = "note scorecard: rollbacks in shadow mode: 18 of 20 right, 424 bad invocations avoidable"
    assert line in check.out.splitlines()
    assert document["scorecard"] == {"right": 18, "wrong": 2, "open": 0, "avoidable": 424, "caused": 0}


def test_of_a_large_fleet_the_sums_are_shown() -> None:
    sums = {f"shadow_{name}": number for name, number in CARD.items()} | {"shadow_open": 3, "tasks": 9_000}
    seen = Seen({"tasks": [], "listed": "attention", "summary": sums}, [], None, "a worker", None)
    assert seen.scorecard == CARD | {"open": 3}
    assert seen.notes[-1].endswith("9 of 9 right, 212 bad invocations avoidable; 3 more had too few outcomes to tell")


def test_before_anything_is_judged_the_status_says_nothing() -> None:
    assert fleet_scorecard([a_brief(scorecard=dict.fromkeys(CARD, 0))], {}) is None
    assert fleet_scorecard(None, {}) is None
    assert scorecard_note(None) == ""


def test_the_topics_tell_the_score_if_no_worker_answers_and_only_of_shadow_mode() -> None:
    snapshot = in_shadow("F" * 70).snapshot(AGENT, TASK)
    assert brief(snapshot, 0)["scorecard"] == {"right": 1, "wrong": 0, "open": 0, "avoidable": 45, "caused": 0}
    assert brief(msgspec.structs.replace(snapshot, mode="enforce"), 0)["scorecard"] is None


# -- one rollback ------------------------------------------------------------------------------------
def a_rollback(driver: TopologyDriver) -> m.RollbackEvent:
    return driver.read(topics.ROLLBACKS)[0]


def judged(driver: TopologyDriver) -> list[Event]:
    return [as_event(fact) for fact in driver.read(topics.DECISIONS) if isinstance(fact, m.Hindsight)]


def test_a_reported_rollback_says_what_became_of_it() -> None:
    driver = in_shadow("F" * 70)
    event, fate = a_rollback(driver), judged(driver)
    assert status_of(event, fate) == "shadow: right"
    text = page(explained(driver, event.rollback_id))
    assert "45 of 50 bad invocations avoidable" in " ".join(text.split())
    assert msgspec.to_builtins(fate[0])["hindsight"]["rollback_id"] == event.rollback_id
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_dip_is_shown_as_wrong_with_what_the_rollback_would_have_cost() -> None:
    driver = in_shadow("FFFFFFF", "S" * 60)
    event, fate = a_rollback(driver), judged(driver)
    assert status_of(event, fate) == "shadow: wrong"
    assert "recovered by itself within" in fate[0].reason
    assert fate[0].reason.endswith("more bad invocations with the rollback")


def test_before_it_is_judged_it_says_so() -> None:
    driver = in_shadow("F" * 20)
    event = a_rollback(driver)
    assert status_of(event, []) == "shadow: not done"
    assert "nothing yet: shadow mode judges the rollback later" in page(explained(driver, event.rollback_id))


def test_events_of_other_rollbacks_have_no_new_field() -> None:
    event = Event(what="undone", actor="ada", timestamp="t", reason="", id="1")
    assert set(msgspec.to_builtins(event)) == {"what", "actor", "timestamp", "reason", "id"}


def test_tail_shows_a_judgement_in_one_line() -> None:
    record = SimpleNamespace(partition=0, offset=1, key=b"k", value=b"", headers=())
    line = line_of(Received(topics.DECISIONS, record, example()))  # type: ignore[arg-type]
    assert "rollback right backend-architect/api-design: api-optimized delivered less than default" in line
    assert example().rollback_id in line


# -- the proposal ------------------------------------------------------------------------------------
def enforcing(**fields: Any) -> m.Proposal:
    change = m.Change(action="enforce", variant_id="default")
    return another(1, proposal_type="enforce_task", change=change, trigger="shadow_precision", **fields)


def test_a_proposal_to_enforce_says_what_changes_and_how_to_keep_it() -> None:
    words = " ".join(effect(enforcing(), "pending"))
    assert "sets operations.mode to enforce for backend-architect/security-audit" in words
    assert "promotions of this task are made" in words
    assert '[tasks."backend-architect/security-audit".operations]' in words
    assert 'The exact change\n  operations.mode = "enforce" for this task\n' in proposal_page(enforcing(), NOW)


def test_an_approval_alone_is_not_taken_for_more_than_it_is() -> None:
    driver = in_shadow("F" * 70)
    command = a_command(m.RejectProposal, proposal_id="prop-1")
    fields = {name: getattr(command, name) for name in ("schema_version", "command_id", "timestamp", "actor")}
    change = m.Change(action="enforce", variant_id="default")
    driver.pipe(m.ApproveProposal(agent_name=AGENT, task_type=TASK, proposal_id="prop-1", change=change, **fields))
    result = [found for found in driver.read(topics.DECISIONS) if isinstance(found, m.CommandResult)][-1]
    assert result.detail == (
        "prop-1 approved: rollbacks are enforced as soon as the policy has "
        'tasks."backend-architect/api-design".operations.mode = "enforce"'
    )
    assert driver.snapshot(AGENT, TASK).mode == "shadow"


async def test_if_the_policy_cannot_follow_an_approval_one_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise Unavailable("Kafka does not accept it.", hint="start it")

    monkeypatch.setattr("crl_stream.cli.proposals.enforcing.change_policy", refuse)
    nothing: Any = None
    with pytest.raises(Unavailable) as caught:
        await enforce(nothing, nothing, TaskKey(AGENT, TASK), actor="ada", reason="prop-1 approved")
    assert caught.value.message == (
        "The proposal is approved, but the policy could not be changed: Kafka does not accept it."
    )
    assert caught.value.hint == (
        'set operations.mode = "enforce" for backend-architect/api-design in crl.toml, then run crl policy apply'
    )


def test_the_guides_class_leaves_the_policy_of_the_fleet_to_crl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VariantProposer, "_open", lambda *_: enforcing())
    store: Any = object()
    with pytest.raises(UsageError) as caught:
        VariantProposer(store=store).approve(enforcing().proposal_id)
    assert caught.value.hint == f"run crl proposals approve {enforcing().proposal_id}"
