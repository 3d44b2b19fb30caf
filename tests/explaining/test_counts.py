"""One outcome, two outcomes: no sentence of an explanation, a why-not or a page counts "1 outcomes"."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from builders import a_command, invocations
from cli.test_why_not import asked
from dashboard.golden_topics import golden_records, shared_golden_fleet
from dashboard.test_pages import known_pages
from golden.storage import read_outputs

from crl_stream.cli.explain_text import page as explain_page
from crl_stream.cli.why_not_text import page as why_not_page
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.reach import together, touches_words
from crl_stream.explaining.explain import Sources, explain
from crl_stream.explaining.history import step_of
from crl_stream.explaining.ids import Found, id_of
from crl_stream.explaining.story import TOPICS, Story
from crl_stream.stages.driver import TopologyDriver

NOUNS = (
    *("outcomes", "invocations", "runtimes", "tasks", "variants", "partitions", "rollbacks", "proposals", "records"),
    *("errors", "failures", "successes", "hours", "days", "seconds", "minutes", "promotions", "approvals", "verdicts"),
    *("alerts", "stages", "values", "workers", "metrics"),
)
ONE = re.compile(rf"(?<![\w.,:/+-])1 (?:more |late |other |judged )?({'|'.join(NOUNS)})\b")


def wrong(text: str) -> list[str]:
    """Return each place where one thing is counted as several."""
    flat = " ".join(text.split())
    return [flat[max(0, at.start() - 60) : at.end() + 30] for at in ONE.finditer(flat)]


def test_the_search_finds_what_it_looks_for() -> None:
    assert wrong("held for 1 outcomes") and wrong("after 1 late invocations") and wrong("0 of 1 runtimes moved")
    assert not wrong("1 outcome, 21 outcomes, 0.1 seconds, stage 1 is in progress, a/b-1 errors, 12:1 outcomes")


def test_no_page_of_the_golden_hour_counts_one_as_several() -> None:
    found = [(name, places) for name, _, reading in known_pages("golden") if (places := wrong(reading.text))]
    assert [(name, at) for name, places in found for at in places] == []


def test_no_fact_of_the_golden_hour_counts_one_as_several() -> None:
    lines = [line for found in read_outputs().values() for line in found if line.value]
    assert len(lines) > 1_000
    assert [place for line in lines for place in wrong(line.value.decode("utf-8", "replace"))] == []


def test_no_explanation_of_the_golden_hour_counts_one_as_several() -> None:
    stories: dict[TaskKey, Story] = {}
    facts: list[tuple[str, Any]] = []
    for (topic, _), records in golden_records().items():
        for told in records:
            if getattr(told.message, "agent_name", None) is None:
                continue
            key = TaskKey(told.message.agent_name, told.message.task_type)
            if topic in TOPICS:
                stories.setdefault(key, Story(key)).take(topic, told.message)
            if type(told.message) in {m.RollbackEvent, m.Activation, m.Adoption, m.Receipt, m.Hindsight, m.Benefit}:
                facts.append((topic, told.message))
    assert len(facts) > 300
    places = []
    for topic, message in facts:
        key = TaskKey(message.agent_name, message.task_type)
        found = explain(id_of(message), Found(topic, message), Sources(stories[key], None, None, {}, ""))
        places += wrong(explain_page(found))
    assert places == []


@pytest.mark.parametrize("late", [0, 1, 2])
def test_a_receipt_says_how_many_invocations_were_late(late: int) -> None:
    [receipt] = [r.message for rs in golden_records().values() for r in rs if isinstance(r.message, m.Receipt)][:1]
    words = step_of(msgspec.structs.replace(receipt, late_invocations=late)).words
    end = {0: "with its next invocation", 1: "after 1 late invocation", 2: "after 2 late invocations"}[late]
    assert words == f"{receipt.runtime_id} uses {receipt.variant_id}, {end}"


def test_a_why_not_counts_right_after_every_single_outcome() -> None:
    """Each count of a condition passes through 1: outcomes of a variant, of a cooldown, of a hold, of a check."""
    driver, pages = TopologyDriver(), list[str]()
    story = [
        *invocations("default", "S" * 12),
        *invocations("v2", "S" * 12, variant_source="explore"),
        a_command(m.ActivateVariant, variant_id="v2"),
        *invocations("v2", "S" * 25, active_epoch=2),
        *invocations("v2", "F" * 14, active_epoch=2),
        *invocations("default", "S" * 4),
        a_command(m.UndoRollback),
        *invocations("v2", "S" * 104, active_epoch=4),
    ]
    for message in story:
        driver.pipe(message)
        pages.append(why_not_page(asked(driver), every=True))
    text = " ".join(pages)
    assert "1 outcome left" in " ".join(text.split()), "the hold after the undo has counted down"
    assert [at for page in pages for at in wrong(page)] == []


def test_what_is_touched_counts_right_for_one_and_for_several() -> None:
    one = m.Touches(runtimes=1, outcomes_an_hour=1)
    assert touches_words(one) == "1 task, 1 runtime, about 1 outcome an hour"
    assert touches_words(together([one])) == touches_words(one)
    assert not wrong(touches_words(together([one, one])))
    for snapshot in shared_golden_fleet().tasks.values():
        assert not wrong(touches_words(snapshot.touches))
