"""The dashboard page matches the guide's page byte for byte, and keeps its layout whatever text it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from core.notes import AGENT, DAY, NOON, TASK, a_proposal, a_rollback, an_alert, at, histories
from hypothesis import given, settings
from hypothesis import strategies as st
from stages.test_overview import Worker, last_page, log_of, page_of

from crl_stream.core import messages as m
from crl_stream.core.instant import from_text
from crl_stream.core.overview import health
from crl_stream.dashboard.text import SYMBOLS, WIDTH, render

HALF_PAST_TWO = from_text("2025-11-19T14:30:00Z")


def a_page(**fields: Any) -> m.Overview:
    """Return the guide's sample state: 127 entries, 8 agents, 2 rollbacks, 3 proposals."""
    given_fields: dict[str, Any] = {
        "timestamp": at(0),
        "as_of": m.Position(0, 512),
        "incarnation": 0,
        "tasks": 40,
        "agents": 8,
        "q_table_entries": 127,
        "rollback_times": [at(-9), at(-1)],
        "rollbacks": [a_rollback("rb-2", -1), a_rollback("rb-1", -9, undo_command=None)],
        "pending_proposals": 3,
        "proposals": [a_proposal(f"prop-{n}", confidence=c) for n, c in enumerate((0.85, 0.75, 0.5))],
        "n_high_confidence": 0,
        "high_confidence": [],
        "n_degraded": 0,
        "degraded": [],
        "n_open_alerts": 0,
        "open_alerts": [],
        "engine_version": "1",
    }
    return m.Overview(**(given_fields | fields))


def a_variant(variant_id: str = "v2", **fields: Any) -> m.TaskStanding:
    given_fields = {
        "agent_name": AGENT,
        "task_type": TASK,
        "variant_id": variant_id,
        "q_value": 0.934,
        "n_visits": 120,
        "active": False,
    }
    return m.TaskStanding(**(given_fields | fields))


def sections(text: str) -> dict[str, str]:
    """Return the body of each section by its title."""
    rule = "-" * WIDTH
    parts = re.split(rf"\n{rule}\n(.+)\n{rule}\n", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def guides_page() -> str:
    """Return the example output of the guide's section 4 from its quoted lines."""
    quoted = (Path(__file__).parent / "guide_section_4_usage.md").read_text(encoding="utf-8")
    lines = quoted.partition("# Example output:\n")[2].splitlines()
    found = [line[2:] for line in lines if line == "#" or line.startswith("# ")]
    assert found[-1] == "..."
    return "".join(f"{line}\n" for line in found[:-1])


def test_the_guides_sample_state_prints_the_guides_sample_page_byte_for_byte() -> None:
    page = guides_page()
    assert page.endswith("System Status: ✓ HEALTHY\n") and page.count("\n") == 15
    assert render(a_page(), HALF_PAST_TWO).encode().startswith(page.encode())


def test_the_page_has_the_guides_five_sections_in_its_order() -> None:
    assert list(sections(render(a_page(), HALF_PAST_TWO))) == [
        "SYSTEM HEALTH OVERVIEW",
        "RECENT ROLLBACKS",
        "PENDING PROPOSALS",
        "HIGH-CONFIDENCE VARIANTS (Q≥0.9, n≥10)",
        "DEGRADATION ALERTS",
    ]


def test_a_section_with_nothing_in_it_says_so() -> None:
    empty = a_page(rollbacks=[], rollback_times=[], proposals=[], pending_proposals=0)
    found = sections(render(empty, HALF_PAST_TWO))
    assert found["RECENT ROLLBACKS"] == "No rollbacks.\n"
    assert found["PENDING PROPOSALS"] == "No pending proposals.\n"
    assert found["HIGH-CONFIDENCE VARIANTS (Q≥0.9, n≥10)"] == "No high-confidence variants.\n"
    assert found["DEGRADATION ALERTS"].startswith("No active degradation warnings.\n")


def test_a_rollback_is_shown_with_all_that_one_needs_to_judge_it_and_the_way_back() -> None:
    assert (
        sections(render(a_page(), HALF_PAST_TWO))["RECENT ROLLBACKS"]
        == """\
rb-2
  When:       2025-11-18 12:00:00 UTC
  Task:       backend-architect/api-design
  Change:     api-optimized → default
  Reason:     Success rate dropped from 90% to 75% (16.7% drop)
  Undo:       crl undo backend-architect/api-design --epoch 3

rb-1
  When:       2025-11-10 12:00:00 UTC
  Task:       backend-architect/api-design
  Change:     api-optimized → default
  Reason:     Success rate dropped from 90% to 75% (16.7% drop)
"""
    )


def test_a_rollback_of_shadow_mode_says_that_nothing_was_done() -> None:
    text = render(a_page(rollbacks=[a_rollback(enforced=False, undo_command=None)]), HALF_PAST_TWO)
    assert "  Mode:       shadow: nothing was changed\n" in text
    assert "Undo:" not in text


def test_proposals_come_with_confidence_expiry_and_the_command_to_review_them() -> None:
    body = sections(render(a_page(proposals=[a_proposal()], pending_proposals=1), HALF_PAST_TWO))["PENDING PROPOSALS"]
    assert (
        body
        == """\
prop-1
  Agent:      backend-architect
  Task:       api-design
  Type:       create_specialized_variant
  Variant:    default-v2
  Confidence: 75%
  Expires:    2025-12-19 12:00:00 UTC
  Review:     crl proposals show prop-1
"""
    )


def test_a_proposal_that_has_expired_since_the_page_was_made_is_left_out_and_not_counted() -> None:
    page = a_page()
    text = render(page, from_text(page.proposals[0].expires_at))
    assert "Pending Proposals: 0\n" in text
    assert sections(text)["PENDING PROPOSALS"] == "No pending proposals.\n"


def test_a_proven_variant_says_whether_it_is_active_already() -> None:
    page = a_page(n_high_confidence=3, high_confidence=[a_variant("v1", active=True), a_variant()])
    assert (
        sections(render(page, HALF_PAST_TWO))["HIGH-CONFIDENCE VARIANTS (Q≥0.9, n≥10)"]
        == """\
backend-architect/api-design v1
  Q-value:    0.93, n = 120
  Status:     active

backend-architect/api-design v2
  Q-value:    0.93, n = 120
  Status:     ready for auto-apply

... and 1 more
"""
    )


def test_warnings_name_the_variant_since_when_and_why_then_other_open_alerts() -> None:
    degraded = a_variant(q_value=0.4, active=True, since=at(-0.5), reason="Success rate dropped from 90% to 75%")
    page = a_page(n_degraded=1, degraded=[degraded], n_open_alerts=1, open_alerts=[an_alert("no_target", -0.5)])
    assert (
        sections(render(page, HALF_PAST_TWO))["DEGRADATION ALERTS"].partition("\n\n===")[0]
        == """\
backend-architect/api-design v2
  Since:      2025-11-19 00:00:00 UTC
  Reason:     Success rate dropped from 90% to 75%
  Q-value:    0.40, n = 120
  Status:     ACTIVE

Other critical alerts that are open:
- 2025-11-19 00:00:00 UTC backend-architect/api-design default: no_target"""
    )


@pytest.mark.parametrize(
    ("word", "changes"),
    [
        ("HEALTHY", {}),
        ("HEALTHY", {"rollback_times": [at(-31)] * 9 + [at(-1)] * 2}),
        ("HEALTHY", {"pending_proposals": 4}),
        ("STABLE", {"pending_proposals": 5}),
        ("STABLE", {"rollback_times": [at(-20), at(-10), at(-9)]}),
        ("STABLE", {"rollback_times": [at(-1)] * 3}),
        ("STABLE", {"n_open_alerts": 1, "open_alerts": [an_alert("degradation")]}),
        ("STABLE", {"n_open_alerts": 1, "open_alerts": [an_alert("fold_failure")]}),
        ("ATTENTION NEEDED", {"rollback_times": [at(-1)] * 4}),
        ("ATTENTION NEEDED", {"n_open_alerts": 1, "open_alerts": [an_alert("no_target")]}),
        ("ATTENTION NEEDED", {"n_open_alerts": 1, "open_alerts": [an_alert("rollback_stuck", -90)]}),
        ("ATTENTION NEEDED", {"n_open_alerts": 1, "open_alerts": [an_alert("data_gap")]}),
        ("HEALTHY", {"n_open_alerts": 1, "open_alerts": [an_alert("data_gap", -8)]}),
    ],
)
def test_the_word_for_the_systems_health_follows_from_rollbacks_proposals_and_alerts(
    word: str, changes: dict[str, Any]
) -> None:
    page = a_page(**changes)
    assert health(page, HALF_PAST_TWO) == word
    status = sections(render(page, HALF_PAST_TWO))["SYSTEM HEALTH OVERVIEW"].partition("System Status: ")[2]
    assert status.splitlines()[0] == f"{SYMBOLS[word]} {word}"
    reasons = [line for line in status.splitlines()[1:] if line.startswith("- ")]
    assert bool(reasons) == (word != "HEALTHY"), "every status other than HEALTHY gives its reasons"


def test_the_words_age_with_the_hour_and_not_with_the_record() -> None:
    page = a_page(rollback_times=[at(0)] * 4)
    words = [health(page, NOON + days * DAY) for days in (0, 6, 7, 29, 30)]
    assert words == ["ATTENTION NEEDED", "ATTENTION NEEDED", "STABLE", "STABLE", "HEALTHY"]


long_names = st.text("ABCxyz019._:-", min_size=100, max_size=128)
texts = st.text(max_size=300) | st.just("\x1b[31m red \x07 \u202e") | st.just("宽" * 60)


@settings(max_examples=60, deadline=None)
@given(long_names, long_names, texts)
def test_no_name_and_no_text_breaks_the_layout_or_reaches_the_terminal_as_a_command(
    agent: str, variant: str, text: str
) -> None:
    names = {"agent_name": agent, "task_type": agent[::-1]}
    page = a_page(
        rollbacks=[a_rollback(reason=text, to_variant=variant, undo_command=f"crl undo {agent}/t --epoch 3", **names)],
        proposals=[a_proposal(proposal_id=variant, target_variant=variant, **names)],
        high_confidence=[a_variant(variant, **names)],
        degraded=[a_variant(variant, reason=text, **names)],
        open_alerts=[an_alert(text=text, **names)],
        n_open_alerts=1,
    )
    rendered = render(page, HALF_PAST_TWO)
    lines = rendered.splitlines()
    assert max(map(len, lines)) == WIDTH
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if line != line.rstrip()] == []
    assert list(sections(rendered)) == list(sections(render(a_page(), HALF_PAST_TWO)))
    assert agent[:40] in rendered and variant[:40] in rendered


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(0, 100))
def test_every_page_that_the_fold_can_make_is_rendered_and_always_the_same(history: list[Any], days: int) -> None:
    outputs = Worker().fold(log_of(history)).outputs
    if last_page(outputs) is None:
        return
    page = page_of(outputs)
    text = render(page, NOON + days * DAY)
    assert text == render(page, NOON + days * DAY)
    assert text.endswith("=\n") and not text.endswith("\n\n")
    assert len(sections(text)) == 5
