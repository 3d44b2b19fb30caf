"""``crl status`` for a large fleet is short and quick; holds and shadow mode are shown as notes, not as problems."""

from __future__ import annotations

import json
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from core.task import NOON, Task
from dashboard.test_text import a_page

from cli.program import Program
from cli.views import a_brief, serving
from crl_stream.cli import status as status_module
from crl_stream.cli.status import Health, Seen, screen_lines, state_of, summary_line, task_lines
from crl_stream.cli.status_text import task_line
from crl_stream.cli.told_tasks import _tasks_of_overview
from crl_stream.core import messages as m
from crl_stream.dashboard.task_states import brief
from crl_stream.errors import Unavailable
from crl_stream.settings import load_settings
from crl_stream.worker_views import ask

DEGRADED = a_brief("review", degraded=["default"], quarantined=["v2"], held=True)


def a_summary(number: int, tasks: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """Return a page of ``/api/summary``."""
    sums = {"tasks": number, "HEALTHY": number - 2, "INCONCLUSIVE": 2, "trouble": 0, "attention": len(tasks)}
    page = {"summary": sums | fields, "tasks": tasks, "ranks": [1] * len(tasks), "unread": 0, "behind": 0}
    return page | {"partial": False, "silent": [], "unreadable": []}


def test_of_a_large_fleet_the_numbers_are_shown_and_who_needs_attention_and_no_list_is_asked_for(crl: Program) -> None:
    page = a_summary(100_000, [DEGRADED], trouble=1, held=1) | {"unread": 12, "behind": 40, "partial": True}
    with serving([a_brief("never-asked-for")], views={"/api/summary": page}) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        result, told = crl.run("status"), json.loads(crl.run("status", "--json").out)
        check = crl.run("status", "--check")
        every = crl.run("status", "--all")
    assert "100,012 tasks: 99,998 healthy, 2 INCONCLUSIVE, 1 in trouble, 1 held" in result.out
    assert "12 not counted yet, 40 changed since they were counted" in result.out
    assert "backend-architect/review" in result.out
    assert "never-asked-for" not in result.out
    assert "crl status --all lists every task" in result.err
    assert (told["n_tasks"], told["summary"]["tasks"], told["partial"]) == (100_012, 100_000, True)
    assert [line.split()[0] for line in check.out.splitlines()] == ["kafka:", "task", "note"]
    assert "never-asked-for" in every.out


def test_of_a_small_fleet_every_task_is_listed(crl: Program) -> None:
    with serving([a_brief(), DEGRADED], views={"/api/summary": a_summary(2, [DEGRADED])}) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        result = crl.run("status")
    assert "backend-architect/api-design" in result.out
    assert "backend-architect/review" in result.out


def test_a_worker_that_is_busy_is_not_called_absent(crl: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = load_settings(environment={}, flags={"worker.web_port": listening.getsockname()[1]})
        with pytest.raises(Unavailable, match="did not answer within 0 s"):
            ask(settings, "/api/summary", 0.2)
    with pytest.raises(Unavailable, match="No worker answers"):
        ask(settings, "/api/summary", 0.2)


HELD = a_brief("held-one", held=True, held_by="ada", no_rollback="held by ada until 2026-01-01T00:00:00.000Z")
SHADOW = a_brief("shadow-one", mode="shadow", no_rollback="shadow mode: rollbacks are only reported")
FLEET_NOTE = {
    "name": "fleet_held",
    "subject": "fleet",
    "since": "2026-11-27T18:00:00.000Z",
    "text": "The fleet is held by grace until 2026-11-28T18:00:00.000Z: incident 42. No rollbacks happen.",
    "action": "`crl resume --all` releases it",
    "trouble": False,
}


def seen_of(*tasks: dict[str, Any], findings: tuple[dict[str, Any], ...] = ()) -> Seen:
    page = {"tasks": list(tasks), "partial": False, "silent": []}
    return Seen(page, list(findings), Health("HEALTHY", []), "a worker", None)


def test_what_is_held_is_a_note_and_no_trouble() -> None:
    seen = seen_of(a_brief(), HELD, SHADOW, findings=(FLEET_NOTE,))
    assert seen.trouble == []
    assert seen.as_json()["healthy"] is True
    fleet, held, mode = seen.notes
    assert "The fleet is held by grace" in fleet
    assert "since 2026-11-27 18:00:00 UTC" in fleet
    assert "held-one (by ada)" in held and "will not be rolled back" in held
    assert "1 of 3 tasks in shadow mode: a rollback is reported but not done" in mode
    assert seen.as_json()["notes"] == seen.notes
    assert state_of(SHADOW) == "healthy; shadow mode"
    assert state_of(a_brief(held=True, fleet_held=True)) == "fleet held"
    assert state_of(a_brief(common_cause="provider:one")) == "provider:one is failing"


def test_a_task_held_with_the_fleet_is_not_named_again() -> None:
    assert seen_of(a_brief(held=True, fleet_held=True)).notes == []


def test_check_says_what_is_held_and_exits_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status_module, "look", lambda *_, **__: seen_of(a_brief(), HELD, findings=(FLEET_NOTE,)))
    context: Any = SimpleNamespace(obj=None)
    status_module.status(context, watch=False, check=True, every=False, json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "well: 2 tasks, nothing is wrong"
    assert any(line.startswith("note fleet_held since 2026-11-27 18:00:00 UTC: The fleet is held") for line in lines)
    assert any(line.startswith("note held: 1 task is held and will not be rolled back") for line in lines)


def test_a_task_in_trouble_is_told_with_the_present_reason_since_when_and_why_nothing_is_done() -> None:
    task = DEGRADED | {
        "reason": "No success in the last 20 outcomes",
        "degraded_since": "2026-11-27T18:00:00.000Z",
        "no_rollback": "held by ada until 2026-11-28T00:00:00.000Z",
    }
    [line] = seen_of(task).trouble
    assert ": No success in the last 20 outcomes (active default, epoch 1, since 2026-11-27 18:00:00 UTC)" in line
    assert "; not rolled back: held by ada until" in line


def test_where_there_are_too_many_snapshots_to_read_the_page_of_the_system_says_who_is_degraded() -> None:
    standing = m.TaskStanding(
        agent_name="a",
        task_type="t",
        variant_id="v",
        q_value=0.1,
        n_visits=60,
        active=True,
        reason="No success in the last 20 outcomes",
        since="2026-11-27T18:00:00.000Z",
        verdict="DEGRADED",
        no_rollback="the fleet is held by grace until 2026-11-28T18:00:00.000Z",
    )
    overview = a_page(tasks=100_000, n_degraded=1, degraded=[standing])
    told = _tasks_of_overview(overview)
    seen = Seen({"silent": [], "unreadable": []} | told, [], None, "the page", None)
    assert (seen.n_tasks, told["partial"]) == (100_000, True)
    assert "healthy" not in summary_line(seen), "the page does not say how many are healthy"
    assert summary_line(seen).startswith("100,000 tasks: 1 in trouble")
    [line] = seen.trouble
    assert "task a/t: DEGRADED: No success in the last 20 outcomes" in line
    assert task_lines(told["tasks"], 80)
    assert screen_lines(seen, "", "http://a:1", 24, 80)


def test_where_no_worker_answers_the_snapshot_says_which_runtime_alone_speaks_for_a_rollback() -> None:
    task = Task()
    for number in range(60):
        task.run("default", "S", runtime_id=f"h{number % 3}")
    task.run("default", "F" * 20, runtime_id="h2")
    line = task_line(brief(task.stated(m.TaskSnapshot)[-1], NOON))
    assert "not rolled back: one runtime against the others: " in line
    assert "come from runtime h2; the other 2 runtimes: 0 of " in line
