"""``crl status`` says what is wrong, quickly for any number of tasks, and refreshes itself on a terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.program import Program
from cli.views import a_brief, serving
from crl_stream.cli.status import Health, Seen, screen_lines, state_of, system_lines, task_lines
from crl_stream.cli.status_text import system_line
from crl_stream.cli.talk import lay_out
from crl_stream.core.policy import GUIDE
from crl_stream.dashboard.findings import finding_line
from crl_stream.kafka.fleet_health import finding, groups_of
from crl_stream.kafka.fleet_policy import difference_line
from crl_stream.settings import load_settings

DEGRADED = a_brief("review", degraded=["default"], quarantined=["v2"], held=True)


def test_every_task_is_a_line_with_what_is_wrong_with_it(crl: Program) -> None:
    with serving([a_brief(), DEGRADED]) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        result = crl.run("status")
    assert result.code == 69, "Kafka does not answer"
    assert [line.split()[0] for line in result.out.splitlines()] == [
        "kafka:",
        "task",
        "backend-architect/api-design",
        "backend-architect/review",
    ]
    assert "DEGRADED; held; quarantine: v2" in result.out
    assert "system: not known, because Kafka does not answer" in result.err, "no health is invented"


def test_a_task_without_an_outcome_is_not_called_healthy(crl: Program) -> None:
    # A command for a mistyped task leaves a row, like any other command.
    with serving([a_brief("no-such-task", active_variant=None, q_value=None, n_outcomes=0, variants=0)]) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        result = crl.run("status")
    assert "healthy" not in result.out
    assert "no outcome yet" in result.out


def test_json_has_the_health_of_the_system_or_says_that_it_is_unknown(crl: Program) -> None:
    with serving([a_brief()]) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        page = json.loads(crl.run("status", "--json").out)
    assert (page["health"], page["concerns"]) == (None, [])
    assert [task["task_type"] for task in page["tasks"]] == ["api-design"]


def test_ten_thousand_tasks_are_listed_within_two_seconds_from_cold(crl: Program) -> None:
    with serving([a_brief(f"task-{n}") for n in range(10_000)]) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        crl.run("--version")  # the first call compiles modules that were never imported on this machine
        used = os.times()
        result = crl.run("status")
        spent = os.times()
    assert len(result.out.splitlines()) == 10_002
    # Measure processor time, so that other programs on the machine do not count.
    assert spent.children_user + spent.children_system - used.children_user - used.children_system < 2.0


def read_until(screen: IO[bytes], wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        seen += screen.read(65_536)
    return seen


def test_on_a_terminal_it_stays_until_ctrl_c_and_gives_the_screen_back(crl: Program) -> None:
    with serving([a_brief(), DEGRADED]) as port:
        crl.environment |= {"CRL_WORKER_WEB_PORT": str(port), "TERM": "xterm", "COLUMNS": "100", "LINES": "20"}
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as screen:
            process = crl.start("status", "-w", stdout=theirs, stderr=subprocess.PIPE)
            os.close(theirs)
            try:
                drawn = read_until(screen, b"/api-design")
                process.send_signal(signal.SIGINT)
                read_until(screen, b"\x1b[?1049l")
                process.wait()
            finally:
                process.kill()
                _, err = process.communicate()
    assert b"\x1b[?1049h" in drawn
    assert b"DEGRADED" in drawn, "problems are listed first"
    assert process.returncode == 130
    assert err.decode() == "crl: Interrupted.\n"


def test_a_screen_shows_what_fits_on_it_and_says_how_much_does_not() -> None:
    tasks = [a_brief(f"t{n}") for n in range(10_000)] + [DEGRADED]
    page = {"tasks": tasks, "partial": True, "silent": ["http://b:1"]}
    seen = Seen(page, [], Health("STABLE", ["5 proposals are pending"]), "a worker", None)
    for height in (8, 24, 100):
        begun = time.process_time()
        lines = screen_lines(seen, "No worker answers.", "http://a:1", height, 100)
        assert time.process_time() - begun < 1.0
        assert len(lines) <= height
        assert lines[0] == "system: STABLE (5 proposals are pending)"
        assert lines[4].startswith("backend-architect/review")
        assert lines[-1] == "the last known state: No worker answers."
        shown = sum(line.startswith("backend-architect/") for line in lines)
        assert f"... and {10_001 - shown} more; crl status lists all" in lines


def test_each_reason_of_the_systems_health_has_a_line_of_its_own() -> None:
    page = {"tasks": [], "partial": False, "silent": []}
    seen = Seen(page, [], Health("ATTENTION NEEDED", ["a/b: degraded", "1 more alert"]), "a worker", None)
    assert system_lines(seen) == ["system: ATTENTION NEEDED", "- a/b: degraded", "- 1 more alert"]
    one = seen._replace(health=Health("STABLE", ["5 proposals are pending"]))
    assert system_lines(one) == ["system: STABLE (5 proposals are pending)"]


def test_a_short_list_is_whole() -> None:
    page = {"tasks": [a_brief()], "partial": False, "silent": []}
    lines = screen_lines(Seen(page, [], None, "a worker", None), "", "http://a:1", 24, 100)
    assert lines[0] == "system: not known, because the overview has not been written yet"
    assert [line.split()[0] for line in lines[3:]] == ["task", "backend-architect/api-design"]


def test_a_cell_is_one_line_and_commands_no_terminal() -> None:
    rows = [["a", "b"], ["x\ny\x1b[31m", "宽"], ["", "z"]]
    assert lay_out(rows) == ["a" + " " * 13 + "b", r"x\ny\x1b[31m  宽", " " * 14 + "z"]


NOT_HEALTHY = [
    a_brief(verdict="INCONCLUSIVE"),
    a_brief(verdict=None, active_variant=None),
    a_brief(verdict="HEALTHY", judged=20, successes=0),
    a_brief(verdict="DEGRADED"),
    a_brief(degraded=["default"]),
    {key: value for key, value in a_brief().items() if key not in {"verdict", "judged", "successes"}},
]


@pytest.mark.parametrize("task", NOT_HEALTHY)
def test_only_a_task_that_was_judged_healthy_is_called_so(task: dict[str, Any]) -> None:
    assert "healthy" not in state_of(task)
    assert state_of(task)
    assert state_of(a_brief()) == "healthy"
    rollout = {"variant_id": "v9", "share": 0.25, "paused": True}
    assert state_of(a_brief(rollout=rollout)) == "healthy; rolling out v9 (25 %, paused)"


names = st.text("abcdefghij-.", min_size=1, max_size=128)


@given(
    st.lists(st.builds(a_brief, names, active_variant=names, quarantined=st.lists(names, max_size=3)), min_size=1),
    st.sampled_from((40, 80, 120)),
)
def test_no_state_id_or_number_is_cut_however_narrow_the_terminal_is(tasks: list[dict[str, Any]], width: int) -> None:
    lines = task_lines(tasks, width)
    said = "\n".join(lines)
    for task in tasks:
        assert f"backend-architect/{task['task_type']}" in said
        assert task["active_variant"] in said
        assert all(name in said for name in task["quarantined"])
    # Only a name longer than a line may exceed the width, and then it has the line to itself.
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)


def test_what_is_wrong_comes_first_with_its_name_since_when_and_what_to_do() -> None:
    since = "2026-11-27T18:00:00.000Z"
    found = {
        "name": "kafka",
        "subject": "k:1",
        "since": since,
        "text": "Kafka does not answer at k:1.",
        "action": "check that the broker is running",
        "trouble": True,
    }
    page = {"tasks": [a_brief()], "partial": False, "silent": []}
    seen = Seen(page, [found], Health("HEALTHY", []), "a worker", None)
    lines = screen_lines(seen, "", "http://a:1", 24, 80)
    assert not any("system: HEALTHY" in line for line in lines), (
        "the system is not called healthy while something does not work"
    )
    assert "kafka since 2026-11-27 18:00:00 UTC: Kafka does not answer at k:1." in " ".join(lines)
    assert seen.as_json()["healthy"] is False
    assert "Check that the broker is running." in seen.trouble[0]


def test_partitions_with_the_same_trouble_are_one_line_with_their_number() -> None:
    late = [
        {
            "name": "snapshots",
            "subject": f"partition {number}",
            "since": f"2026-11-27T18:00:0{number}.000Z",
            "text": f"snapshots of partition {number} have been due for 40 s.",
            "action": "see the log",
            "trouble": True,
        }
        for number in (2, 0, 3)
    ]
    seen = Seen({"tasks": [], "partial": False, "silent": []}, late, None, "a worker", None)
    [line] = seen.trouble
    assert "partition 0 have" in line and "(and 2 more partitions)" in line
    assert "not known, because nothing has been published" in system_line(seen)


def test_check_says_a_line_for_each_trouble_and_exits_1(crl: Program) -> None:
    with serving([a_brief(), DEGRADED]) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        result, told = crl.run("status", "--check"), crl.run("status", "--check", "--json")
    assert (result.code, told.code) == (1, 1)
    lines = result.out.splitlines()
    assert [line.split()[0] for line in lines] == ["kafka:", "task"]
    assert "backend-architect/review" in lines[1]
    assert json.loads(told.out)["trouble"] == lines


def test_a_task_whose_row_cannot_be_read_is_trouble_by_name(crl: Program) -> None:
    with serving([a_brief()], unreadable=("backend-architect/review",)) as port:
        crl.environment["CRL_WORKER_WEB_PORT"] = str(port)
        result = crl.run("status", "--check")
    assert result.code == 1
    assert "row: The row of backend-architect/review cannot be read." in result.out


def test_check_works_when_nothing_answers_and_never_says_that_all_is_well(crl: Program) -> None:
    result = crl.run("status", "--check")
    assert result.code == 1
    assert [line.split()[0] for line in result.out.splitlines()] == ["worker:", "kafka:"]
    page = json.loads(crl.run("status", "--json").out)
    assert (page["healthy"], page["tasks"]) == (False, [])
    assert crl.run("status").code == 69


def test_no_notifier_is_missed_in_the_demo_which_starts_none() -> None:
    demo = load_settings(environment={}, flags={"worker.app_id": "crl-demo"})
    real = load_settings(environment={})
    assert "notifier" not in groups_of(demo, ["crl-demo-notifier-file"])
    assert groups_of(real, [])["notifier"] == []


def test_the_note_about_another_policy_is_two_sentences() -> None:
    said = difference_line(GUIDE, "ada", 0, 1)
    line = finding_line(finding("policy_differs", "policy", said, "`crl policy apply` changes it", trouble=False))
    assert line.endswith("in 1 setting: see `crl policy diff`. `crl policy apply` changes it.")
