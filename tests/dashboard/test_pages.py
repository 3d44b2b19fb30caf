"""The pages say what the topics say, in the words of the command line, whatever strangers have written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from browser.fleets import NOW, Teller, failing_provider, heard, held_fleet, story
from core.notes import a_rollback
from typer.main import get_command

from crl_stream.cli.application import app
from crl_stream.cli.status_text import row_of as status_row
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.core.instant import from_text, readable
from crl_stream.core.overview import Condition
from crl_stream.core.policy import Policy
from crl_stream.dashboard import entries, pages
from crl_stream.dashboard.fleet import Fleet
from crl_stream.dashboard.newest import Newest
from crl_stream.dashboard.pages import rows
from crl_stream.dashboard.pages.conditions import state_of
from crl_stream.dashboard.pages.orders import Order, steer_rollout
from crl_stream.dashboard.pages.review_page import DETAILED
from crl_stream.dashboard.pages.rows import PER_PAGE, Rows, safe_json
from crl_stream.dashboard.pages.task_page import acts_of
from crl_stream.dashboard.task_states import brief
from crl_stream.dashboard.task_states import state_of as status_state
from crl_stream.dashboard.text import render
from crl_stream.dashboard.web.access import Refusal
from crl_stream.dashboard.web.orders import FIELDS, KINDS, make_command, read_order
from crl_stream.proposals.digest import benefit_lines, helped_of
from crl_stream.visible import visible
from dashboard.golden_topics import golden_fleet, golden_records
from dashboard.strangers import HOSTILE, hostile

VIEWER = pages.Viewer(actor="web:ada", may_act=True, csrf="secret-of-the-page", environment="production")
EVENT_HANDLER = re.compile(r"^on[a-z]+$")


@cache
def golden() -> tuple[Fleet, int]:
    fleet = golden_fleet()
    return fleet, fleet.heard_at + 5_000


def all_pages(fleet: Fleet, now: int, viewer: pages.Viewer = VIEWER) -> Iterator[tuple[str, str]]:
    """Yield every page that the fleet has, with its name."""
    yield "fleet", pages.fleet_page(fleet, viewer, now)
    yield "review", pages.review_page(fleet, viewer, now)
    for key in fleet.tasks:
        yield f"task {key}", pages.task_page(fleet, key, viewer, now)
    for rollback_id in fleet.rollbacks:
        yield f"rollback {rollback_id}", pages.rollback_page(fleet, rollback_id, viewer, now, policy=Policy())


@cache
def known_pages(which: str) -> list[tuple[str, str, Reading]]:
    """Return every page of a fleet with its name, as HTML and as a browser finds it; each is made once."""
    fleet, now = golden() if which == "golden" else (story(200), NOW) if which == "story" else (held_fleet(), NOW)
    return [(name, page, Reading(page)) for name, page in all_pages(fleet, now)]


class Reading(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "symbol"} & set(self._open):
            self.texts.append(data)

    def all(self, name: str) -> list[str]:
        """Return all values of an attribute."""
        return [value for _, attributes in self.elements if (value := attributes.get(name)) is not None]

    @property
    def text(self) -> str:
        """What a person reads, with single spaces."""
        return " ".join(" ".join(self.texts).split())


def read(page: str) -> Reading:
    return Reading(page)


def squeezed(text: str) -> str:
    """Return a text without spaces: elements may or may not separate words."""
    return re.sub(r"\s+", "", visible(text).replace("\\n", ""))


# -- every page --------------------------------------------------------------------------------------
def test_everything_that_can_happen_has_a_page_that_obeys_the_content_security_policy() -> None:
    count = 0
    for name, _, found in known_pages("golden"):
        count += 1
        assert not [tag for tag, attributes in found.elements if "style" in attributes or tag == "style"], name
        assert not [a for _, attributes in found.elements for a in attributes if EVENT_HANDLER.match(a)], name
        scripts = [attributes for tag, attributes in found.elements if tag == "script"]
        assert all(
            s.get("type") == "application/json" or (s.get("src") or "").startswith("/dashboard/") for s in scripts
        )
        links = [*found.all("href"), *found.all("src")]
        assert all(link.startswith(("/dashboard/", "#", "data:image/svg+xml")) for link in links), name
    assert count > 200, "the golden hour has many tasks and rollbacks"


def test_ids_are_unique_and_every_button_finds_its_dialog() -> None:
    for name, _, found in known_pages("golden"):
        ids = found.all("id")
        assert len(ids) == len(set(ids)), name
        assert {*found.all("data-open")} <= set(ids), name
        assert {*found.all("aria-labelledby"), *found.all("for")} <= set(ids), name


def test_every_page_has_one_heading_of_the_first_level_and_can_stop_the_whole_fleet() -> None:
    for name, page, found in known_pages("story"):
        assert [tag for tag, _ in found.elements].count("h1") == 1, name
        assert found.all("data-open").count("d-hold-all") >= 1, name
        assert "crl hold --all" in page, name


# -- strangers ------------------------------------------------------------------------------------------
@cache
def hostile_fleet() -> tuple[Fleet, int]:
    """Return the fleet of the golden hour with a hostile text wherever a stranger can write one."""
    fleet, seen = Fleet(), dict[type, int]()
    for records in golden_records().values():
        for told in records[-60:]:
            kind = type(told.message)
            seen[kind] = seen.get(kind, 0) + 1
            if told.message is not None and (seen[kind] <= 40 or kind in {m.Overview, m.Proposal}):
                fleet.hear(hostile(told.message, HOSTILE))
    return fleet, golden()[1]


def test_no_text_of_a_stranger_becomes_an_element_or_hides_itself() -> None:
    fleet, now = hostile_fleet()
    viewer = msgspec.structs.replace(VIEWER, actor=HOSTILE, environment=HOSTILE)
    shown = 0
    for name, page in all_pages(fleet, now, viewer):
        assert "<script>alert" not in page and "<img" not in page and "alert(1)&gt;49" not in page, name
        found = read(page)
        assert not [tag for tag, _ in found.elements if tag == "img"], name
        assert not [a for _, attributes in found.elements for a in attributes if EVENT_HANDLER.match(a)], name
        assert not [c for c in page if not c.isprintable() and c != "\n"], name
        shown += found.text.count("alert(1)")
    assert shown > 100, "the texts are shown, as texts"


@pytest.mark.parametrize("trouble", [HOSTILE, "worker: no worker runs the role monitor"], ids=["hostile", "plain"])
def test_what_is_not_working_is_shown_on_every_page_and_makes_the_fleet_unhealthy(trouble: str) -> None:
    fleet, now = golden()
    page = pages.fleet_page(fleet, VIEWER, now, troubles=[trouble])
    text = read(page).text
    assert squeezed(trouble) in squeezed(text) and "ATTENTION NEEDED" in text
    assert "<img" not in page


def test_data_for_the_script_cannot_end_the_element_that_contains_it() -> None:
    told = safe_json(["</script>", "<!--", "&amp;"])
    assert not re.search(r"[<>&]", told)
    assert json.loads(told) == ["</script>", "<!--", "&amp;"]


# -- the words and figures of the command line --------------------------------------------------------------
@pytest.mark.parametrize("which", ["golden", "story", "held", "cause"])
def test_the_five_sections_have_the_words_and_figures_of_the_text_dashboard(which: str) -> None:
    fleet, now = {
        "golden": golden,
        "story": lambda: (story(), NOW),
        "held": lambda: (held_fleet(), NOW + 60_000),
        "cause": lambda: (failing_provider(), NOW + 60_000),
    }[which]()
    overview = fleet.overview
    assert overview is not None
    page, text = read(pages.fleet_page(fleet, VIEWER, now)), render(overview, now)
    shown, condition = squeezed(page.text), Condition(overview, now)
    assert entries.health_word(condition) in text and entries.health_word(condition) in page.text
    for name, total in entries.health_figures(overview, condition):
        assert f"{name}: {total}" in text
        assert squeezed(f"{name} {total:,}") in shown
    for concern in condition.concerns:
        assert squeezed(readable(concern)) in shown
    for note in overview.rollbacks:
        fields = dict(entries.rollback_fields(note))
        assert squeezed(fields["Reason"]) in shown
        if note.undo_command and note.rollback_id in fleet.rollbacks:
            assert note.undo_command in page.all("data-copy")
    for proposal in condition.proposals[:6]:
        fields = dict(entries.proposal_fields(proposal))
        assert squeezed(fields["Variant"] + fields["Confidence"]) in shown and fields["Type"] in page.text
    for standing in overview.degraded:
        for name, words in entries.degradation_fields(standing):
            if name in {"Reason", "Status", "Now"}:
                assert squeezed(readable(words)) in shown, name
    for standing in [one for one in overview.high_confidence if not one.active][:6]:
        for _, words in entries.high_confidence_fields(standing):
            assert squeezed(words) in shown


@pytest.mark.parametrize("which", ["golden", "story"])
def test_a_row_of_the_table_says_about_a_task_what_crl_status_says(which: str) -> None:
    fleet, now = golden() if which == "golden" else (story(), NOW)
    shown = {TaskKey(row.agent, row.task): row for row in Rows().all(fleet, now)}
    assert set(shown) == set(fleet.tasks)
    for key, row in shown.items():
        name, variant, epoch, q, _, _, state = status_row(brief(fleet.tasks[key], now))
        assert f"{row.agent}/{row.task}" == name
        assert (row.epoch, row.q) == (epoch, q)
        assert row.variant == (variant or "none")
        assert visible(state) == (f"{row.word}; {row.more}" if row.more else row.word)


def test_the_page_of_a_task_says_about_it_what_crl_status_says() -> None:
    fleet, now = golden()
    texts = {name: found.text for name, _, found in known_pages("golden")}
    for key, snapshot in fleet.tasks.items():
        assert visible(status_row(brief(snapshot, now))[-1]) in texts[f"task {key}"]


def test_the_table_begins_with_the_most_urgent_task_and_has_fifty_rows_in_the_page() -> None:
    fleet = story()
    page = pages.fleet_page(fleet, VIEWER, NOW)
    keys = read(page).all("data-key")
    assert len(keys) == PER_PAGE and keys[0] == "invoice-matcher/line-items"
    found = re.search(r'<script type="application/json" id="tasks-rows">(.*?)</script>', page)
    assert found is not None and len(json.loads(found[1])) == len(fleet.tasks) > 900


def test_a_rollback_names_its_figures_its_evidence_and_why_no_other_variant_was_chosen() -> None:
    fleet, now = golden()
    for event in fleet.rollbacks.values():
        text = squeezed(read(pages.rollback_page(fleet, event.rollback_id, VIEWER, now, policy=Policy())).text)
        assert squeezed(event.reason) in text
        assert f"{event.position.partition}:{event.position.offset}" in text
        for candidate in event.candidates:
            assert candidate.variant_id in text and squeezed(candidate.why_not or "chosen") in text
        for offset in event.judged.offsets:
            assert str(offset) in text


def test_what_became_of_a_rollback_is_told_without_reading_the_commands() -> None:
    fleet = story(200)
    status = {
        key.agent_name: read(pages.rollback_page(fleet, event.rollback_id, VIEWER, NOW)).text
        for event in fleet.rollbacks.values()
        for key in [TaskKey(event.agent_name, event.task_type)]
    }
    assert "confirmed by marek" in status["returns-handler"]
    assert "undone by marek" in status["kyc-verifier"]
    assert "not reviewed" in status["backend-architect"]


def test_who_has_moved_agrees_with_the_table_and_names_the_runtimes_that_have_not() -> None:
    fleet = story(200)
    seen = 0
    for event in fleet.rollbacks.values():
        snapshot = fleet.tasks[TaskKey(event.agent_name, event.task_type)]
        if snapshot.epoch != event.epoch or snapshot.adoption is None:
            continue
        text = squeezed(read(pages.rollback_page(fleet, event.rollback_id, VIEWER, NOW)).text)
        assert squeezed(f"Who has moved{snapshot.adoption.moved} of {snapshot.adoption.expected} runtimes") in text
        for one in snapshot.runtimes_behind or ():
            word = "stuck" if one.stuck else "not moved"
            assert squeezed(f"{one.runtime_id}{word}still used {event.from_variant}") in text
            seen += 1
    assert seen


def test_after_a_later_epoch_the_page_of_a_rollback_says_that_names_are_gone_and_not_that_none_moved() -> None:
    fleet, _, key = undone()
    [event] = fleet.rollbacks_of(key)
    text = read(pages.rollback_page(fleet, event.rollback_id, VIEWER, NOW)).text
    assert "4 of 4 runtimes" in text
    assert "All 4 had moved. Their names are no longer kept, because epoch 4 has begun since." in text
    assert "No receipt" not in text


def test_the_page_of_a_rollback_always_names_the_command_that_made_its_variant_active() -> None:
    _, teller, key = undone()
    for _ in range(3):
        teller.command(m.UndoRollback, key, "eve", "again", expected_epoch=1)  # refused: there are newer epochs
        teller.command(m.ConfirmRollback, key, "eve", "fine", rollback_id="rb-20250101-00000000")
    teller.outcomes(key, "bad-v2", "S" * 60 + "F" * 20, 4, active_epoch=teller.epoch(key))
    teller.flush()
    fleet = heard(teller.driver)
    event, first = fleet.rollbacks_of(key)
    assert event.epoch > first.epoch
    text = squeezed(read(pages.rollback_page(fleet, event.rollback_id, VIEWER, NOW)).text)
    assert "UndoRollbackapplied" in text and "eve:itwasthebench" in text
    text = squeezed(read(pages.rollback_page(fleet, first.rollback_id, VIEWER, NOW)).text)
    assert "ActivateVariantapplied" in text and "ana:betterineverytest" in text


def undone() -> tuple[Fleet, Teller, TaskKey]:
    """Return a fleet in which a rollback was followed by four runtimes and then undone by eve."""
    teller, key = Teller(), TaskKey("agent", "task")
    teller.collapse(key, "bad-v2")
    teller.outcomes(key, "default", "S" * 40, 4, active_epoch=teller.epoch(key))
    teller.flush()
    teller.driver.fall_silent(120_000)
    teller.command(m.UndoRollback, key, "eve", "it was the bench", expected_epoch=teller.epoch(key))
    teller.outcomes(key, "bad-v2", "S" * 40, 4, active_epoch=teller.epoch(key))
    teller.flush()
    teller.driver.fall_silent(120_000)
    return heard(teller.driver), teller, key


# -- what a person can do ------------------------------------------------------------------------------------
def test_a_variant_without_outcomes_has_no_rate_and_exploration_that_is_off_is_not_promised() -> None:
    teller, key = Teller(), TaskKey("agent", "task")
    teller.outcomes(key, "default", "S" * 12)
    teller.command(m.RegisterVariant, key, "ana", "", variant_id="fresh-v1")
    fleet = heard(teller.driver)
    page = pages.task_page(fleet, key, VIEWER, NOW)
    assert '<td class="num" data-l="lifetime">-</td>' in page and 'data-l="lifetime">0%' not in page
    assert "exploration is off: gets no invocations" in page
    assert "Exploration is off: it gets no invocations until operations.exploration is raised" in page
    assert "ay explore it" not in page and "ay be explored" not in page
    fleet.actives[key] = msgspec.structs.replace(fleet.actives[key], exploration=0.1)
    page = pages.task_page(fleet, key, VIEWER, NOW)
    assert "xploration is off:" not in page and "may be explored" in page and "Runtimes may explore it" in page


def test_stop_all_says_what_a_choice_weakens_and_does_not_propose_it() -> None:
    dialog = re.compile(r'<dialog id="d-hold-all".*?</dialog>', re.DOTALL)
    [free] = dialog.findall(pages.fleet_page(story(30), VIEWER, NOW))
    assert "crl hold --all without --promotions-only" in free and "happen again" not in free
    assert re.findall(r'value="(\w+)" data-kind="option"[^>]* checked', free) == ["promotions"]
    [held] = dialog.findall(pages.fleet_page(held_fleet(), VIEWER, NOW))
    assert "has stopped everything automatic, rollbacks too: " in held
    assert "With promotions only, rollbacks happen again." in held
    assert re.findall(r'value="(\w+)" data-kind="option"[^>]* checked', held) == ["all"]


def orders_of(page: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the command line and the body of each dialog of a page."""
    return orders_in(read(page))


def orders_in(found: Reading) -> list[tuple[str, dict[str, Any]]]:
    bodies = [json.loads(text) for text in found.all("data-body")]
    return list(zip(found.all("data-command"), bodies, strict=True))


def test_every_command_on_a_page_is_one_that_crl_accepts() -> None:
    group = get_command(app)
    lines: set[str] = set()
    for which in ("golden", "story", "held"):
        for _, _, found in known_pages(which):
            lines |= {*found.all("data-copy"), *[f"{line} --reason why" for line in found.all("data-command")]}
    lines |= set(read(pages.fleet_page(Fleet(), VIEWER, NOW)).all("data-copy"))
    lines.discard("")
    kinds = {" ".join(line.split()[1:3]) for line in lines}
    assert len(kinds) > 10
    for line in sorted(lines):
        crl, *words = line.split()
        assert crl == "crl", line
        command: Any = group
        while hasattr(command, "commands") and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        command.make_context("crl", words, resilient_parsing=False)


KEY = TaskKey("order-router", "refund")
VARIANT_ASKED = {
    *("ActivateVariant", "LiftQuarantine", "RegisterVariant", "RetireVariant", "AcceptLevel", "StartRollout"),
}


def test_what_a_dialog_sends_is_an_order_that_the_server_makes_a_command_of() -> None:
    seen: set[str] = set()
    for which, fleet, now in (("golden", *golden()), ("story", story(200), NOW), ("held", held_fleet(), NOW)):
        for name, _, found in known_pages(which):
            for _, body in orders_in(found):
                given = body | ({"reason": "a test"} if body["command"] == "RejectProposal" else {})
                if body["command"] in VARIANT_ASKED:
                    given |= {"variant_id": "default"}
                command = make_command(fleet, read_order(json.dumps(given).encode()), "web:ada", now)
                assert type(command).__name__ == body["command"], name
                seen.add(body["command"])
    assert seen == {
        *(
            "HoldAll",
            "ResumeAll",
            "HoldTask",
            "ResumeTask",
            "UndoRollback",
            "ConfirmRollback",
            "PinVariant",
            "UnpinVariant",
        ),
        *("ActivateVariant", "ApproveProposal", "RejectProposal", "DeferProposal"),
        *("LiftQuarantine", "RegisterVariant", "RetireVariant", "AcceptLevel"),
        *("StartRollout", "PauseRollout", "PromoteRollout", "AbortRollout"),
    }


def test_every_field_of_a_dialog_is_one_of_its_command_and_an_option_of_its_command_line() -> None:
    group = get_command(app)
    seen: set[str] = set()
    fleet = story(200)
    for key in fleet.tasks:
        snapshot = fleet.tasks[key]
        for order in acts_of(fleet, snapshot, next(iter(fleet.rollbacks_of(key)), None), NOW):
            allowed = FIELDS[KINDS[order.body["command"]]]
            assert {one.name for one in order.fields} <= set(allowed)
            words = order.command.split()[1:]
            command: Any = group
            while hasattr(command, "commands") and words[0] in command.commands:
                command = command.commands[words.pop(0)]
            options = {flag for parameter in command.params for flag in parameter.opts}
            assert {one.flag for one in order.fields if one.flag} <= options
            assert all(one.word in order.command for one in order.fields)
            seen |= {order.name}
    assert seen >= {"lift", "register", "retire", "accept", "activate", "rollout-start", "rollout-abort"}


def test_a_paused_rollout_can_be_resumed_from_the_page() -> None:
    fleet = story(200)
    key, snapshot = next((key, task) for key, task in fleet.tasks.items() if task.rollout is not None)
    assert snapshot.rollout is not None
    paused = m.Order(actor="ana", reason="lunch", since="2026-11-27T00:00:00Z", until=None)
    rollout = msgspec.structs.replace(snapshot.rollout, paused=paused)
    found = {one.name: one for one in steer_rollout(key, rollout)}
    assert "rollout-pause" not in found
    assert found["rollout-resume"].command == f"crl rollout resume {key}"
    assert ("person", "", "ana paused it: lunch") in found["rollout-resume"].effects
    command = make_command(fleet, read_order(json.dumps(found["rollout-resume"].body).encode()), "web:ada", NOW)
    assert (type(command), command.rollout_id) == (m.ResumeRollout, rollout.rollout_id)


def test_a_wrong_field_is_named_and_nothing_of_it_repeated() -> None:
    fleet = story(200)
    key = TaskKey("backend-architect", "api-design")
    for given, name in (
        ({"temperature": HOSTILE}, "temperature"),
        ({"variant_id": HOSTILE}, "variant_id"),
        ({"configuration": [HOSTILE]}, "configuration"),
    ):
        body = {"command": "RegisterVariant", **key._asdict(), "variant_id": "v9"} | given
        with pytest.raises(Refusal) as refused:
            make_command(fleet, read_order(json.dumps(body).encode()), "web:ada", NOW)
        assert (refused.value.status, f"The field {name} of" in refused.value.error) == (400, True)
        assert "script" not in refused.value.error
    with pytest.raises(Refusal):
        make_command(fleet, {"command": "HoldAll", "stops": "nothing"}, "web:ada", NOW)


def test_the_promotions_of_a_fleet_that_are_stopped_are_shown_on_every_page_but_hold_no_task() -> None:
    teller = Teller()
    teller.outcomes(KEY, "default", "S" * 30)
    teller.command(m.HoldAll, None, "priya", "release night", hours=4.0, stops="promotions")
    teller.driver.fall_silent(5_000)
    fleet, now = heard(teller.driver), teller.driver.clock
    for page in (pages.fleet_page(fleet, VIEWER, now), pages.task_page(fleet, KEY, VIEWER, now)):
        text = squeezed(read(page).text)
        assert squeezed("Promotions are stopped in the whole fleet. Rollbacks still happen.") in text
        assert squeezed("To put it back: crl resume --all") in text
    told = brief(fleet.tasks[KEY], now)
    assert (told["held"], told["fleet_held"], told["fleet_stops"]) == (False, True, "promotions")
    assert status_state(told).endswith("promotions stopped with the fleet")
    assert "h" not in state_of(fleet, KEY, now).marks


def test_while_rollbacks_are_stopped_in_one_partition_no_page_says_that_they_happen() -> None:
    fleet, now = golden_fleet(), golden()[1]
    hold = m.Order(actor="ada", reason="", since="2025-11-19T14:00:00Z", until="2099-01-01T00:00:00Z", scope="fleet")
    newer = msgspec.structs.replace(hold, since="2025-11-19T15:00:00Z", stops="promotions")
    for number, (key, snapshot) in enumerate(fleet.tasks.items()):
        fleet.tasks[key] = msgspec.structs.replace(snapshot, fleet_held=newer if number else hold)
    text = squeezed(read(pages.fleet_page(fleet, VIEWER, now)).text)
    assert squeezed("The fleet is held: nothing automatic happens, not even a rollback.") in text


def test_a_page_asks_for_a_reason_exactly_where_a_terminal_does() -> None:
    for name, _, found in known_pages("story"):
        for tag, attributes in found.elements:
            if tag == "input" and attributes.get("name") == "reason":
                assert ("required" in attributes) == attributes["id"].startswith("d-reject-"), name


def test_an_approval_that_changes_the_policy_is_left_to_the_command_line() -> None:
    fleet, now = golden()
    proposal = next(p for p in fleet.proposals.values() if p.change.action == "enforce")
    open_one = msgspec.structs.replace(
        proposal, status="pending", revision=proposal.revision + 1, expires_at="2099-01-01T00:00:00Z"
    )
    other = Fleet()
    other.hear(open_one)
    page = pages.review_page(other, VIEWER, now)
    assert [body["command"] for _, body in orders_of(page)] == ["RejectProposal", "DeferProposal", "HoldAll"]
    assert f"crl proposals approve {proposal.proposal_id}" in read(page).all("data-copy")


def test_a_long_queue_stays_a_small_page_on_which_every_proposal_is_a_link_away() -> None:
    fleet, now = golden()
    proposal = next(iter(fleet.proposals.values()))
    full = Fleet()
    for number in range(300):
        full.hear(
            msgspec.structs.replace(
                proposal, proposal_id=f"prop-{number:03d}", status="pending", expires_at="2099-01-01T00:00:00Z"
            )
        )
    first, last = (pages.review_page(full, VIEWER, now, show=show) for show in ("", "prop-299"))
    reading = read(first)
    assert len(first) < 500_000
    assert len(reading.all("data-proposal")) == DETAILED
    links = [href for href in reading.all("href") if href and "#prop-" in href]
    assert sorted(href.partition("#")[2] for href in links) == [f"prop-{number:03d}" for number in range(300)]
    assert "/dashboard/review?show=prop-299#prop-299" in links
    assert set(read(last).all("data-proposal")) == {*reading.all("data-proposal"), "prop-299"}


def test_a_row_is_made_once_for_a_snapshot_and_again_as_soon_as_it_would_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet, now = held_fleet(), NOW
    made: list[TaskKey] = []
    real = rows.row_of

    def counted(fleet: Fleet, key: TaskKey, now: int) -> rows.Row:
        made.append(key)
        return real(fleet, key, now)

    monkeypatch.setattr(rows, "row_of", counted)
    kept = Rows()
    assert kept.all(fleet, now) == kept.all(fleet, now)
    assert len(made) == len(fleet.tasks)
    held = {key: task.held for key, task in fleet.tasks.items() if task.held is not None and task.held.until}
    key, order = next(iter(held.items()))
    end = from_text(str(order.until))
    for instant in (end - 1, end, end + 1, now):
        assert kept.all(fleet, instant) == Rows().all(fleet, instant)
    fleet.tasks[key] = msgspec.structs.replace(fleet.tasks[key], held=None, fleet_held=None)
    assert kept.of(fleet, key, now) == real(fleet, key, now)


def test_a_viewer_who_may_not_act_sees_every_command_but_can_send_none() -> None:
    looking = msgspec.structs.replace(VIEWER, may_act=False)
    page = pages.fleet_page(story(200), looking, NOW)
    buttons = [
        attributes for tag, attributes in read(page).elements if tag == "button" and attributes.get("type") == "submit"
    ]
    assert buttons and all("disabled" in attributes for attributes in buttons)
    assert "crl hold --all" in page


def test_a_page_of_many_tasks_and_the_rows_that_change_on_it_do_not_search_all_rollbacks_for_each_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet, now = golden()
    searches = 0

    def values(self: Newest[Any]) -> list[Any]:
        nonlocal searches
        searches += self is fleet.rollbacks
        return self.newest(len(self))

    monkeypatch.setattr(Newest, "values", values)
    assert len(Rows().all(fleet, now)) > 20
    for key in fleet.tasks:
        Rows().change(fleet, key, now)
    assert searches <= 1


def test_only_the_latest_rollback_of_a_task_can_be_undone() -> None:
    fleet, _ = golden()
    found = {name: reading for name, _, reading in known_pages("golden")}
    for key, snapshot in fleet.tasks.items():
        for command, body in orders_in(found[f"task {key}"]):
            if body["command"] == "UndoRollback":
                assert body["expected_epoch"] == snapshot.epoch and f"--epoch {snapshot.epoch}" in command


def test_the_body_of_an_order_holds_only_what_its_dialog_does_not_ask_for() -> None:
    assert set(Order.__struct_fields__) >= {"command", "body", "asks"}
    page = pages.task_page(story(200), TaskKey("backend-architect", "api-design"), VIEWER, NOW)
    assert all(not {"reason", "hours"} & set(body) for _, body in orders_of(page))


# -- states ----------------------------------------------------------------------------------------------------
def test_an_empty_system_says_what_to_do_first() -> None:
    text = read(pages.fleet_page(Fleet(), VIEWER, NOW)).text
    assert "No outcomes yet" in text and "crl publish my-agent/my-task" in text and "crl demo" in text


def test_a_held_fleet_says_who_holds_it_until_when_and_why_and_can_be_resumed_from_every_page() -> None:
    for name, _, found in known_pages("held"):
        text = found.text
        assert "The fleet is held: nothing automatic happens, not even a rollback." in text, name
        assert "priya since" in text and "the judge model returns zeros" in text, name
        assert "d-resume-all" in found.all("data-open"), name


def test_a_hold_that_is_over_is_not_shown() -> None:
    assert "The fleet is held" not in pages.fleet_page(held_fleet(), VIEWER, NOW + 5 * 3_600_000)


def test_tasks_that_fall_together_are_one_banner_and_one_reason() -> None:
    fleet = failing_provider()
    page = read(pages.fleet_page(fleet, VIEWER, NOW + 60_000))
    assert re.search(r"provider:azure-eu is failing in \d+ tasks", page.text)
    assert "more alerts have the same cause" in page.text or "more reasons" in page.text


def test_an_unknown_task_or_rollback_gets_a_page_with_the_next_command() -> None:
    fleet = story(200)
    assert "Nothing is known of no/such" in pages.task_page(fleet, TaskKey("no", "such"), VIEWER, NOW)
    assert "crl rollbacks" in pages.rollback_page(fleet, "rb-none", VIEWER, NOW)
    hostile_page = pages.rollback_page(fleet, HOSTILE, VIEWER, NOW)
    assert "<img" not in hostile_page and "\x1b" not in hostile_page


@pytest.mark.parametrize("with_token", [True, False])
def test_who_is_not_signed_in_learns_how_to_and_gets_a_form_if_there_is_a_token(with_token: bool) -> None:
    page = pages.sign_in_page("/dashboard", with_token=with_token, refused=HOSTILE)
    assert "crl dashboard --link" in page and ('action="/dashboard/enter"' in page) == with_token
    assert "<img" not in page


def test_a_fleet_that_is_not_known_yet_looks_like_the_page_that_will_come_and_asks_again() -> None:
    page = pages.trouble_page("/dashboard", 503, "Nothing is known of the fleet yet.", "reload the page")
    assert 'http-equiv="refresh"' in page and "Nothing is known of the fleet yet." in page


def test_a_rollback_that_only_the_overview_knows_is_listed_without_a_button() -> None:
    fleet = Fleet()
    overview = story(200).overview
    assert overview is not None
    fleet.hear(msgspec.structs.replace(overview, rollbacks=[a_rollback("rb-gone", 0)]))
    page = pages.fleet_page(fleet, VIEWER, from_text(overview.timestamp))
    assert "/dashboard/rollbacks/rb-gone" in page and "undo-rb-gone" not in page


def test_a_rollback_says_what_became_of_the_one_before() -> None:
    fleet, now = golden()
    again = {}
    for event in fleet.rollbacks.values():
        again.setdefault((event.agent_name, event.task_type), []).append(event)
    [newest, before, *_] = next(
        events for events in again.values() if len(events) > 1 and all(event.enforced for event in events)
    )
    text = read(pages.rollback_page(fleet, newest.rollback_id, VIEWER, now)).text
    assert f"Last time, {before.timestamp[:10]}: {before.from_variant} was rolled back to {before.to_variant}" in text


def test_of_a_larger_fleet_the_table_has_the_most_urgent_tasks_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST", 60)
    page = pages.fleet_page(story(200), VIEWER, NOW)
    found = re.search(r'<script type="application/json" id="tasks-rows">(.*?)</script>', page)
    assert found is not None and len(json.loads(found[1])) == 60
    assert "the most urgent of 200 tasks; crl status --all lists all" in read(page).text


def test_the_queue_says_whether_the_changes_of_the_week_helped_in_the_words_of_the_weekly_review() -> None:
    fleet, now = golden()
    judged = [fact for fact in reversed(list(fleet.facts.values())) if isinstance(fact, m.Benefit)]
    lines = benefit_lines(helped_of(judged, now))
    assert lines
    text = read(pages.review_page(fleet, VIEWER, now)).text
    assert "Changes judged this week" in text
    assert [line for line in lines if line not in text] == []


def test_a_proposal_of_an_older_engine_has_the_way_back_of_its_own_change() -> None:
    fleet, now = golden()
    proposal = next(p for p in fleet.proposals.values() if p.change.action == "register")
    fleet.hear(
        msgspec.structs.replace(
            proposal,
            proposal_id="prop-of-old",
            status="pending",
            expires_at="2099-01-01T00:00:00Z",
            undo_command=None,
            last_time=None,
        )
    )
    text = read(pages.review_page(fleet, VIEWER, now, show="prop-of-old")).text
    task = f"{proposal.agent_name}/{proposal.task_type}"
    assert f"One command crl retire {task} {proposal.change.variant_id}" in text
    assert "Last time none known" in text
