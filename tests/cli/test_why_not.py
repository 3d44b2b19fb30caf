"""The page of ``crl why-not``: the conclusion first, every condition, 80 columns, and nothing that acts on a screen."""

from __future__ import annotations

import msgspec
import pytest
from builders import AGENT, TASK, a_command, a_policy, invocations
from core.stories import POLICIES, Storyteller
from explaining.told import KEY

from crl_stream.cli.why_not_text import page
from crl_stream.core import messages as m
from crl_stream.core.monitor.row import decode_row
from crl_stream.core.policy import Guardrails, Policy, PolicySet, Rollout
from crl_stream.errors import NotFound
from crl_stream.explaining.why_not import WhyNot, why_not
from crl_stream.kafka.partition_rows import TaskState
from crl_stream.stages.driver import TopologyDriver
from crl_stream.stages.partition import partition_key

NAME = f"{AGENT}/{TASK}"


def state_of(driver: TopologyDriver, behind: int = 0) -> TaskState:
    rows = driver.changelog[0]
    return TaskState(0, rows[KEY.encode()], rows[partition_key(0)], behind)


def asked(driver: TopologyDriver, variant: str | None = None, behind: int = 0) -> WhyNot:
    return why_not(KEY, state_of(driver, behind), driver.clock, variant)


def held() -> TopologyDriver:
    driver = TopologyDriver()
    driver.pipe_each(invocations("default", "S" * 30))
    driver.pipe_each(invocations("v2", "S" * 30, variant_source="explore"))
    driver.pipe(a_command(m.HoldTask, actor="grace", reason="release week"))
    driver.pipe_each(invocations("default", "F" * 12))
    return driver


def test_the_conclusion_comes_first_and_the_first_false_condition_is_marked() -> None:
    text = page(asked(held()))
    first = " ".join(text.partition("\n\n")[0].split())
    assert first.startswith("default is not rolled back, because held by grace since 2025-11-19 14:31:20 UTC")
    assert "release week" in first and f"crl resume {NAME} releases it" in first
    block = text.partition("default is rolled back: no\n")[2].partition("\n\n")[0]
    [marked] = [line for line in block.splitlines() if line.startswith(">")]
    assert marked.startswith("> NO    the task is not held: held by grace")
    assert "  yes   enough outcomes to judge: 20 judged since its last activation, 10" in block
    assert "v2 is chosen" in block


def test_the_conclusion_says_if_releasing_a_hold_is_not_enough() -> None:
    driver = TopologyDriver()
    driver.pipe_each(invocations("default", "S" * 30))
    driver.pipe(a_command(m.HoldTask, actor="grace", reason="release week"))
    driver.pipe_each(invocations("default", "F" * 12))
    first = " ".join(page(asked(driver)).partition("\n\n")[0].split())
    assert "held by grace" in first
    assert "That alone is not enough: there is nothing to roll back to (no other variant is known)" in first
    assert "not enough" not in page(asked(held())).partition("\n\n")[0]


def test_no_figure_of_a_condition_is_said_twice() -> None:
    block = page(asked(held())).partition("default is rolled back: no\n")[2].partition("\n\n")[0]
    assert block.count("success_rate") == 1 and "avg_reward" in block


def test_a_task_that_no_worker_folds_says_so() -> None:
    assert "no worker is running" not in page(asked(held()))
    words = " ".join(page(asked(held(), behind=3)).split())
    assert "Not folded yet: up to 3 records of the log" in words
    assert "no worker is running (crl status)" in words


def test_a_step_that_is_due_is_announced() -> None:
    driver = held()
    driver.pipe(a_command(m.ResumeTask))
    found = asked(driver)
    assert found.sentence.startswith("With the next outcome, default is rolled back. ")
    assert "default is rolled back: yes, with the next outcome" in page(found)


def test_a_broken_guardrail_and_a_rollout_are_part_of_the_conclusion() -> None:
    driver = TopologyDriver()
    policy = Policy(rollout=Rollout(stages=(0.05, 0.25)), guardrails=Guardrails(cost="rollback"))
    driver.pipe(a_policy(PolicySet(default=policy)))
    driver.pipe_each(invocations("default", "S" * 60, cost=1.0))
    driver.pipe_each(invocations("v2", "S" * 9 + "F" + "S" * 10, variant_source="explore", cost=1.0))
    driver.pipe(a_command(m.StartRollout, variant_id="v2"))
    driver.pipe_each(invocations("v2", "S" * 8, active_epoch=1, cost=1.0))
    driver.pipe_each(invocations("default", "S" * 30, cost=3.0))
    sentence = asked(driver).sentence
    assert "v2 gets its next share: not yet, because there are too few outcomes (8, 20 needed)" in sentence
    assert "default is not rolled back because of its cost, because there is nothing to roll back to" in sentence


def test_with_all_every_answer_is_shown_in_full() -> None:
    found = asked(held())
    text = page(found, every=True)
    assert all(f"\n{answer.title}: " in text for answer in found.answers)
    assert "steps are not shown" not in text


def test_before_anything_is_active_it_says_what_chooses_the_first_variant() -> None:
    driver = TopologyDriver()
    driver.pipe_each(invocations("v2", "SSS", variant_source="explore"))
    found = asked(driver)
    assert found.sentence == "No variant is active yet: the first live outcome that does not explore chooses one."
    assert [answer.stops for answer in found.answers if answer.key == "first"] == ["outcome"]


def test_an_unknown_variant_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(NotFound) as caught:
        asked(held(), "v9")
    assert str(caught.value).splitlines() == [f"{NAME} has no variant v9.", "hint: its variants: default, v2"]


@pytest.mark.parametrize("name", POLICIES)
def test_every_page_of_a_random_story_fits_a_terminal(name: str) -> None:
    driver, teller = TopologyDriver(), Storyteller(5, newcomers=name == "eager")
    driver.pipe(a_policy(PolicySet(default=POLICIES[name])))
    for number in range(240):
        data = driver.rows().get(KEY.encode())
        row = None if data is None else decode_row(data)
        rollout = None if row is None or row.rollout is None else row.rollout.variant_id
        active, epoch = (None, 0) if row is None else (row.active, row.epoch)
        driver.pipe(*teller.messages(active, epoch, rollout, driver.clock))
        if number % 20 == 19:
            for variant in (None, *decode_row(driver.rows()[KEY.encode()]).variants):
                found = asked(driver, variant)
                assert msgspec.json.encode(found)
                for every in (False, True):
                    assert max(map(len, page(found, every=every).splitlines())) <= 80


def test_a_hostile_text_cannot_act_on_the_terminal_or_add_a_line() -> None:
    hostile = "\x1b[31mred\x07\u202eevil\u2028line\n> NO    default is fine"
    driver = held()
    driver.pipe(a_command(m.HoldTask, actor=hostile, reason=hostile))
    text = page(asked(driver), every=True)
    assert not {"\x1b", "\x07", "\u202e", "\u2028"} & set(text)
    assert "> NO    default is fine" not in text.splitlines()
