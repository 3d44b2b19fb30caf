"""The highest revision of each proposal counts, and its expiry time decides whether it is still open."""

from __future__ import annotations

import json

import msgspec
from client.silent_kafka import an_active_variant
from core.snapshots import a_snapshot
from hypothesis import given
from hypothesis import strategies as st

from crl_stream.contract import contract_root
from crl_stream.core import messages as m
from crl_stream.core.instant import from_text, to_text
from crl_stream.core.messages.snapshots import OPEN_STATUSES
from crl_stream.proposals.digest import WEEK_MS, digest, digest_text
from crl_stream.proposals.page import effect, page
from crl_stream.proposals.standing import STATUSES, TYPES, latest, select, status_at
from proposals.some import EXPIRES, NOW, another, the_guide_s

TYPE = "promote_variant_to_default"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=20))
def test_the_highest_revision_of_each_is_kept_in_whatever_order_they_come(steps: list[tuple[int, int]]) -> None:
    messages = [another(number, revision=revision) for number, revision in steps]
    oracle = {f"prop-20251119-{n:06x}": max(r for m, r in steps if m == n) for n in {n for n, _ in steps}}
    assert {p.proposal_id: p.revision for p in latest([None, *messages, "noise"])} == oracle


@given(st.sampled_from(STATUSES), st.integers(-5, 5))
def test_an_open_one_is_expired_from_the_moment_it_expires_and_a_closed_one_stays_what_it_is(
    status: str, after: int
) -> None:
    shown = status_at(the_guide_s(status=status), from_text(EXPIRES) + after)
    assert shown == ("expired" if status in OPEN_STATUSES and after >= 0 else status)


def test_the_types_are_the_guide_s_four_and_one_for_shadow_mode() -> None:
    assert set(TYPES) == {
        "create_specialized_variant",
        "modify_variant_parameters",
        "promote_variant_to_default",
        "retire_underperforming_variant",
        "enforce_task",
    }


@given(
    st.lists(
        st.tuples(st.sampled_from(STATUSES), st.sampled_from("ab"), st.sampled_from(TYPES), st.integers(1, 9)),
        max_size=12,
    )
)
def test_the_list_has_what_was_asked_for_the_most_confident_first(rows: list[tuple[str, str, str, int]]) -> None:
    proposals = [
        another(n, status=status, agent_name=agent, proposal_type=kind, confidence=tenths / 10)
        for n, (status, agent, kind, tenths) in enumerate(rows)
    ]
    found = select(proposals, NOW, ["pending"], "a", TYPE)
    expected = [p for p, (s, a, k, _) in zip(proposals, rows, strict=True) if (s, a, k) == ("pending", "a", TYPE)]
    assert {p.proposal_id for p in found} == {p.proposal_id for p in expected}
    assert [p.confidence for p in found] == sorted((p.confidence for p in found), reverse=True)
    assert {p.status for p in select(proposals, NOW)} <= {"pending", "deferred"}


# -- the page --------------------------------------------------------------------------------------
def test_the_page_shows_evidence_modifications_the_exact_change_history_and_what_approving_does() -> None:
    shown = page(the_guide_s(), NOW)
    for line in [
        "prop-20251119-xyz789  create_specialized_variant  pending",
        "  Confidence: 75%",
        "  n_invocations: 67",
        "  avg_q_default: 0.65",
        "  potential_improvement: 0.15",
        "  variance: 0.12",
        "  - append Core Identity",
        "    Special focus on security vulnerabilities...",
        "  - temperature = 0.2",
        "    because: Lower temperature for precise security analysis",
        "  register default-v2",
        "  parent: default",
        "  registers default-v2 for backend-architect/security-audit, made from default.",
        "  Approval is refused if the epoch is no longer 1, and after 2025-12-19T14:30:00Z.",
        "  crl proposals approve prop-20251119-xyz789",
    ]:
        assert line in shown.splitlines()
    assert "Security-audit tasks show 15% lower performance" in shown


def test_what_can_no_longer_be_approved_does_not_offer_it() -> None:
    for status in set(STATUSES) - OPEN_STATUSES:
        assert effect(the_guide_s(), status) == [f"is no longer possible: the proposal is {status}."]
        assert "crl proposals approve" not in page(the_guide_s(status=status), NOW)


def test_each_change_says_what_it_does() -> None:
    promote = effect(the_guide_s(change={"action": "activate", "variant_id": "v2"}), "pending")[0]
    assert "makes v2 the active variant of backend-architect/security-audit at once" in promote
    retire = effect(the_guide_s(change={"action": "retire", "variant_id": "v2"}), "pending")
    assert "never chosen or explored again" in retire[0]
    assert "refused while that variant is active" in retire[1]


def test_a_promotion_in_stages_says_that_a_rollout_begins_what_it_waits_for_and_its_own_way_back() -> None:
    task = "backend-architect/security-audit"
    hold = m.Order(actor="bob", reason="", since="2025-11-19T12:00:00Z", until="2025-11-21T12:00:00Z")
    active = an_active_variant(held=hold, quarantined=["v2"])
    promote = the_guide_s(change={"action": "activate", "variant_id": "v2"}, undo_command=f"crl rollout abort {task}")
    text = " ".join(effect(promote, "pending", active, NOW))
    assert text.startswith("begins a rollout: v2")
    assert "does not begin while the task is held by bob until 2025-11-21T12:00:00Z" in text
    assert f"To undo the approval afterwards: crl rollout abort {task}" in text
    assert "lifts the quarantine of v2" in text
    assert "at once" not in text and "crl undo" not in text
    assert "quarantine" not in " ".join(effect(promote, "pending", an_active_variant(quarantined=[]), NOW))


def test_the_newest_snapshot_says_whether_a_promotion_is_staged_rather_than_an_old_proposal() -> None:
    promote = the_guide_s(change={"action": "activate", "variant_id": "v2"}, undo_command="crl rollout abort a/b")
    now_at_once = effect(promote, "pending", snapshot=a_snapshot(proposal_limits=m.ProposalLimits(staged=False)))
    assert "at once" in now_at_once[0]
    assert any(line.startswith("To undo the approval afterwards: crl undo ") for line in now_at_once)


@given(st.text(max_size=200))
def test_no_text_of_a_prompt_can_move_the_terminal_of_whoever_reads_it(text: str) -> None:
    change = {"action": "register", "variant_id": "v2", "modifications": [{"parameter": text, "value": text}]}
    hostile = the_guide_s(reasoning=text, why=text, change=change, recommended_modifications=[{"section": text}])
    for shown in (page(hostile, NOW), digest_text(digest([hostile], NOW))):
        assert all(line.isprintable() for line in shown.split("\n"))


# -- the weekly review -----------------------------------------------------------------------------
def test_the_review_begins_with_the_guide_s_sentence_and_has_the_top_five_by_confidence() -> None:
    pending = [another(n, confidence=(50 + n) / 100) for n in range(7)]
    old = another(20, timestamp="2025-11-01T00:00:00Z", confidence=0.1)
    text = digest_text(digest([*pending, old, another(21, status="deferred", confidence=0.99)], NOW))
    assert text.splitlines()[0] == "Generated 8 proposals this week: 8 create_specialized_variant"
    assert "Pending: 8, deferred: 1" in text
    shown = [line for line in text.splitlines() if line.startswith("prop-")]
    assert shown == [f"prop-20251119-{n:06x}" for n in (6, 5, 4, 3, 2)]


def test_a_proposal_is_told_in_the_guide_s_lines() -> None:
    text = digest_text(digest([the_guide_s()], NOW))
    guide = """\
prop-20251119-xyz789
  Agent: backend-architect
  Task: security-audit
  Confidence: 75%
  Type: create_specialized_variant"""
    assert guide in text


def test_the_week_is_the_seven_days_before_to_the_millisecond() -> None:
    edges = [NOW - WEEK_MS, NOW - WEEK_MS + 1, NOW, NOW + 1]
    proposals = [another(n, timestamp=to_text(at), updated_at=to_text(at)) for n, at in enumerate(edges)]
    assert digest(proposals, NOW).generated == 2
    rejected = [another(n, status="rejected", updated_at=to_text(at)) for n, at in enumerate(edges)]
    assert digest(rejected, NOW).decided == {"rejected": 2}


def test_what_ran_out_this_week_is_closed_whether_or_not_that_was_written_yet() -> None:
    week_later = from_text(EXPIRES) + WEEK_MS - 1
    assert digest([the_guide_s()], week_later).decided == {"expired": 1}
    assert digest([the_guide_s()], week_later).pending == 0
    assert digest([the_guide_s()], week_later + 1).decided == {}


def test_a_quiet_week_is_told_too() -> None:
    assert digest_text(digest([], NOW)) == (
        "Generated 0 proposals this week: none\nPending: 0, deferred: 0\n"
        "Rollbacks not reviewed: not known, because no worker has published an overview yet"
    )


def benefit(epoch: int, finding: str, at: int = NOW, cause: str = "approval") -> m.Benefit:
    """Return a judgement of the change that began an epoch."""
    path = contract_root() / "examples" / "crl.decisions" / "Benefit-helped.json"
    fields = json.loads(path.read_bytes()) | {
        "epoch": epoch,
        "finding": finding,
        "cause": cause,
        "timestamp": to_text(at),
    }
    return msgspec.convert(fields, m.Benefit)


def test_the_review_says_how_many_changes_of_the_week_helped_each_counted_once_as_it_was_last_judged() -> None:
    benefits = [
        benefit(1, "no_change"),
        benefit(1, "helped"),
        benefit(2, "hurt"),
        benefit(3, "helped", NOW - WEEK_MS),
        benefit(4, "open", cause="undo"),
    ]
    review = digest([], NOW, benefits)
    assert review.helped == {"approval": {"helped": 1, "hurt": 1}, "undo": {"open": 1}}
    text = digest_text(review)
    assert "  approval: 1 of 2 helped, 1 hurt" in text.splitlines()
    assert "  undo: 1 had too few outcomes to tell" in text.splitlines()


def test_the_review_says_how_long_the_oldest_proposal_has_waited() -> None:
    waiting = [another(1, timestamp=to_text(NOW - 5 * 3_600_000)), another(2, timestamp=to_text(NOW - 60_000))]
    assert "Pending: 2, deferred: 0; the oldest has waited 5 h" in digest_text(digest(waiting, NOW))
