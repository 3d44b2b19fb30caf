"""Every dialog of the pages says what its command touches, and how it is undone, in the words of the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from browser.fleets import NOW, failing_provider, held_fleet, story
from msgspec.structs import replace
from typer.main import get_command

from crl_stream.cli.application import app
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.reach import touched, touches_words
from crl_stream.core.way_back import NOT_UNDONE
from crl_stream.dashboard import pages
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.pages.frame import Scene, incidents
from crl_stream.dashboard.pages.orders import Order, steer_rollout
from crl_stream.dashboard.web.orders import KINDS
from dashboard.golden_topics import shared_golden_fleet
from dashboard.test_pages import VIEWER, all_pages


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """Return the orders of all pages that are made during the test."""
    found: list[Order] = []

    def keep(scene: Scene, order: Order) -> Order:
        found.append(order)
        scene.orders.append(order)
        return order

    monkeypatch.setattr(Scene, "order", keep)
    return found


def fleets() -> Iterator[tuple[Fleet, int]]:
    golden = shared_golden_fleet()
    yield golden, golden.heard_at + 5_000
    yield story(200), NOW
    yield held_fleet(), NOW


def commands_in(sentence: str) -> list[str]:
    """Return the command lines of a sentence: each begins after a colon, and ends where the next clause begins."""
    return [line.strip() for line in re.findall(r": (crl [^;]*)", sentence.split(" ends the hold", maxsplit=1)[0])]


def accepted(line: str) -> None:
    _, *words = line.split()
    command: Any = get_command(app)
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    command.make_context("crl", words, resilient_parsing=False)


def test_every_order_says_how_it_is_undone_by_a_command_that_crl_accepts_or_that_it_cannot_be(
    made: list[Order],
) -> None:
    for fleet, now in fleets():
        for _ in all_pages(fleet, now):
            pass
    key, rollout = next((key, task.rollout) for key, task in story(200).tasks.items() if task.rollout is not None)
    paused = m.Order(actor="ana", reason="lunch", since="2026-11-27T00:00:00Z", until=None)
    made += steer_rollout(key, replace(rollout, paused=paused))
    assert {order.body["command"] for order in made} == set(KINDS), "every command that a page can send"
    lines = set[str]()
    for order in made:
        found = commands_in(order.back)
        assert found or order.back.startswith(NOT_UNDONE), order.name
        lines |= {*found}
    assert len(lines) > 20
    for line in lines:
        accepted(line)


def test_every_order_about_a_task_says_what_it_touches_as_the_task_s_snapshot_does(made: list[Order]) -> None:
    for fleet, now in fleets():
        made.clear()
        for _ in all_pages(fleet, now):
            pass
        checked = 0
        for order in made:
            if "agent_name" in order.body and "proposal_id" not in order.body:
                key = TaskKey(order.body["agent_name"], order.body["task_type"])
                assert order.touches == touched(touches_words(fleet.tasks[key].touches)), order.name
                checked += 1
            assert order.touches.startswith(("It touches ", "What it touches is not known"))
        assert checked > 50


def test_an_order_for_the_fleet_touches_every_task_and_the_sum_of_their_outcomes(made: list[Order]) -> None:
    fleet = held_fleet()
    pages.fleet_page(fleet, VIEWER, NOW)
    outcomes = sum(task.touches.outcomes_an_hour or 0 for task in fleet.tasks.values() if task.touches is not None)
    assert outcomes
    for order in made:
        if order.body["command"] in {"HoldAll", "ResumeAll"}:
            assert order.touches.startswith("It touches every task of the fleet, ")
            assert f"about {outcomes:,} outcomes an hour." in order.touches


def test_a_dialog_about_a_task_whose_monitor_says_no_figures_says_that_they_are_not_known() -> None:
    fleet, key = Fleet(), next(iter(story(200).tasks))
    fleet.hear(replace(story(200).tasks[key], touches=None))
    page = pages.task_page(fleet, key, VIEWER, NOW)
    assert page.count("What it touches is not known.") >= 3


def test_the_dialog_shows_both_sentences_and_the_script_finds_the_one_that_names_a_variant() -> None:
    fleet = story(200)
    key = TaskKey("backend-architect", "api-design")
    page = pages.task_page(fleet, key, VIEWER, NOW)
    assert touched(touches_words(fleet.tasks[key].touches)) in page
    sentence = f"To take it back: crl register {key} VARIANT"
    assert f'<span data-names="{sentence}">{sentence}</span>' in page


def test_one_cause_of_several_tasks_says_what_they_touch_together_or_that_it_is_not_known() -> None:
    fleet = failing_provider()
    [incident] = incidents(fleet, NOW)
    tasks = [fleet.tasks[key] for key in incident.tasks]
    outcomes = sum(task.touches.outcomes_an_hour or 0 for task in tasks if task.touches is not None)
    assert incident.touches.startswith(f"It touches {len(tasks)} tasks, ")
    assert f"about {outcomes:,} outcomes an hour." in incident.touches
    assert incident.touches in pages.fleet_page(fleet, VIEWER, NOW)
    silent = Fleet()
    for task in tasks:
        silent.hear(replace(task, touches=None))
    assert incidents(silent, NOW)[0].touches == (
        f"It touches {len(tasks)} tasks; how many runtimes and outcomes is not known."
    )
