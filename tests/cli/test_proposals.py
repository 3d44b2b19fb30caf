"""``crl proposals`` with topics in memory: what it shows, the exact commands it sends, and refusals of late reviews."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from proposals.some import NOW, another, the_guide_s
from telemetry.events import GUIDE_PROPOSAL
from typer.testing import CliRunner

from crl_stream.cli.application import app
from crl_stream.cli.proposals import exporting, reviewing, source
from crl_stream.cli.proposals.reviewing import instant
from crl_stream.core import messages as m
from crl_stream.errors import CommandRefused, CrlError, NotFound, UsageError
from crl_stream.kafka import commands
from crl_stream.kafka.reader import Received

ID = str(GUIDE_PROPOSAL["proposal_id"])


class Installation:
    """Topics in memory, and a monitor with prepared answers."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Any]] = {"crl.proposals": [the_guide_s()], "crl.tasks": [], "crl.decisions": []}
        self.given: list[Any] = []
        self.refusal: str | None = None
        self.accepts: type | None = None
        """A kind of command that is not refused."""

    async def read(self, topic: str, _partition: int | None = None) -> list[Received]:
        return [Received(topic, None, message) for message in self.topics.get(topic, [])]

    async def read_last(self, topic: str, partition: int, _count: int) -> list[Received]:
        return await self.read(topic, partition)

    async def give(self, _: Any, command: Any, timeout: float) -> m.CommandResult:
        self.given.append((command, timeout))
        if self.refusal is not None and type(command) is not self.accepts:
            raise CommandRefused(f"{type(command).__name__} was refused: {self.refusal}.", hint="look")
        return m.CommandResult(
            result_id="cmdr-1",
            timestamp=command.timestamp,
            agent_name=command.agent_name,
            task_type=command.task_type,
            command_id=command.command_id,
            command=type(command).__name__,
            actor=command.actor,
            reason=command.reason,
            outcome="applied",
            detail=f"{getattr(command, 'proposal_id', 'it')} done",
            epoch=1,
            position=m.Position(0, 1),
            policy_hash="0" * 16,
            engine_version="1",
        )

    def call(self, *arguments: str) -> Any:
        options = ["--set", "kafka.bootstrap_servers=nowhere:9092", "proposals", *arguments]
        result = CliRunner().invoke(app, options, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self.call(*arguments, "--json").stdout_bytes)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Installation:
    installed = Installation()
    for module in (source, commands):
        monkeypatch.setattr(module, "TopicReader", lambda _: installed)
    monkeypatch.setattr("crl_stream.kafka.overview_page.TopicReader", lambda _: installed)
    monkeypatch.setattr("crl_stream.cli.consequences.TopicReader", lambda _: installed)
    monkeypatch.setattr(reviewing, "give", installed.give)
    for module in (reviewing, exporting):
        monkeypatch.setattr(module, "now_ms", lambda: NOW)
    monkeypatch.setattr("crl_stream.cli.proposals.command.now_ms", lambda: NOW)
    return installed


# -- reading ---------------------------------------------------------------------------------------
def test_the_list_shows_what_is_open_unless_it_is_asked_for_more(there: Installation) -> None:
    there.topics["crl.proposals"] += [
        another(1, status="approved"),
        another(2, confidence=0.85),
        another(2, confidence=0.85, status="deferred", revision=2),
        another(3, expires_at="2025-11-20T08:59:59Z"),
        another(4, agent_name="reviewer", proposal_type="promote_variant_to_default"),
    ]

    def listed(*arguments: str) -> list[str]:
        return [p["proposal_id"][-1] for p in there.json("list", *arguments)["proposals"]]

    assert listed() == ["2", "4", "9"]
    assert listed("--status", "all", "--agent", "backend-architect") == ["2", "1", "3", "9"]
    assert listed("--status", "expired", "--status", "approved") == ["1", "3"]
    assert listed("--agent", "reviewer") == listed("--type", "crl_promote_variant_to_default") == ["4"]
    assert there.json("list", "--status", "expired")["proposals"][0]["status"] == "expired"
    assert "backend-architect/security-audit" in there.call("list").output
    for wrong in (["--status", "opne"], ["--type", "improve"]):
        with pytest.raises(UsageError):
            there.call("list", *wrong)


def test_one_is_shown_in_full_and_as_json_with_what_approving_it_does(there: Installation) -> None:
    assert "Approving it\n" in there.call("show", ID).output
    document = there.json("show", ID)
    assert document["change"]["variant_id"] == "default-v2"
    assert document["approving"][-2] == f"crl proposals approve {ID}"
    with pytest.raises(NotFound, match="prop-none"):
        there.call("show", "prop-none")


def test_the_digest_is_text_or_json(there: Installation) -> None:
    assert there.call("digest").output.startswith("Generated 1 proposal this week: 1 create_specialized_variant\n")
    found = there.json("digest")
    assert (found["pending"], found["unreviewed"], found["oldest_unreviewed"]) == (1, None, None)


# -- reviewing -------------------------------------------------------------------------------------
def test_an_approval_orders_the_change_word_for_word_for_its_epoch_and_until_it_expires(there: Installation) -> None:
    result = there.json("approve", ID, "--actor", "ada", "--timeout", "3")
    [(command, timeout)] = there.given
    assert isinstance(command, m.ApproveProposal)
    proposal = the_guide_s()
    assert (command.change, command.expected_epoch, command.valid_until) == (
        proposal.change,
        proposal.epoch,
        proposal.expires_at,
    )
    assert (command.proposal_id, command.actor, timeout) == (ID, "ada", 3.0)
    assert result["outcome"] == "applied"


def test_an_approval_with_a_rollout_begins_it_in_the_reviewers_name_for_the_epoch_of_the_answer(
    there: Installation,
) -> None:
    result = there.json("approve", ID, "--rollout", "--actor", "ada", "--reason", "try it")
    (_, _), (command, _) = there.given
    assert isinstance(command, m.StartRollout)
    assert (command.variant_id, command.actor, command.expected_epoch) == ("default-v2", "ada", 1)
    assert command.reason == f"{ID} approved: try it"
    assert (result["outcome"], result["rollout"]["command"]) == ("applied", "StartRollout")


def test_a_rollout_that_is_refused_leaves_the_approval_and_says_so(there: Installation) -> None:
    there.refusal, there.accepts = "default is pinned by bob", m.ApproveProposal
    with pytest.raises(CommandRefused) as caught:
        there.call("approve", ID, "--rollout")
    assert caught.value.message.startswith(f"{ID} is approved and default-v2 is registered, but no rollout began: ")
    assert "default is pinned by bob" in caught.value.message
    assert caught.value.hint == "crl rollout start backend-architect/security-audit default-v2"


def test_nothing_is_approved_for_a_rollout_of_what_is_no_new_variant(there: Installation) -> None:
    there.topics["crl.proposals"] = [the_guide_s(change={"action": "retire", "variant_id": "default-v2"})]
    with pytest.raises(UsageError, match="makes no new variant"):
        there.call("approve", ID, "--rollout")
    assert there.given == []


def test_a_rejection_needs_a_reason_and_carries_it(there: Installation) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        there.call("reject", ID, "--reason", "  ")
    there.call("reject", ID, "-m", "too narrow")
    [(command, _)] = there.given
    assert (type(command), command.reason) == (m.RejectProposal, "too narrow")


def test_a_deferral_says_until_when_and_not_beyond_the_proposal_s_end(
    there: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviewing, "instant", lambda text, _: instant(text, datetime(2025, 11, 20, 9, tzinfo=UTC)))
    there.call("defer", ID, "--until", "14d")
    assert there.given[0][0].until == "2025-12-04T09:00:00.000Z"
    there.call("defer", ID)
    assert there.given[1][0].until is None
    with pytest.raises(UsageError, match="expires before that"):
        there.call("defer", ID, "--until", "2026-01-01")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", "2026-01-31T00:00:00.000Z"),
        ("2026-01-31T09:00:00+02:00", "2026-01-31T07:00:00.000Z"),
        ("2w", "2025-12-04T09:00:00.000Z"),
    ],
)
def test_a_time_may_be_a_day_an_instant_or_a_span(text: str, expected: str) -> None:
    assert instant(text, datetime(2025, 11, 20, 9, tzinfo=UTC)) == expected


@pytest.mark.parametrize("text", ["soon", "2025-11-20", "", "0d", "99999y"])
def test_a_time_that_is_none_or_past_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        instant(text, datetime(2025, 11, 20, 9, tzinfo=UTC))


def a_snapshot(offset: int, *reviews: m.ReviewResult) -> Any:
    example = Path(__file__).resolve().parents[2] / "topics" / "examples" / "crl.tasks" / "TaskSnapshot.json"
    import msgspec

    fields = json.loads(example.read_text(encoding="utf-8"))
    fields |= {"agent_name": "backend-architect", "task_type": "security-audit"}
    fields |= {"as_of": {"partition": 0, "offset": offset}, "reviews": msgspec.to_builtins(list(reviews))}
    return msgspec.convert(fields, m.TaskSnapshot)


def a_review(word: Any, outcome: Any = "applied", proposal_id: str = ID, **fields: Any) -> m.ReviewResult:
    given = {"actor": "bob", "reason": "seen in staging", "detail": "", "timestamp": "2025-11-20T08:59:58Z"}
    return m.ReviewResult(proposal_id=proposal_id, review=word, outcome=outcome, command_id="cmd-1", **(given | fields))


def test_who_was_slower_is_told_who_decided_when_and_why_with_exit_code_5(there: Installation) -> None:
    there.refusal = f"{ID} was already rejected by bob"
    there.topics["crl.tasks"] = [
        a_snapshot(7, a_review("deferred"), a_review("approved", "refused"), a_review("rejected")),
        a_snapshot(3),
    ]
    with pytest.raises(CommandRefused) as caught:
        there.call("approve", ID)
    assert caught.value.message == f"{ID} was already rejected by bob at 2025-11-20T08:59:58Z: seen in staging."
    assert caught.value.exit_code == 5
    assert caught.value.hint


def test_a_refusal_that_no_other_review_caused_is_told_as_the_monitor_gave_it(there: Installation) -> None:
    there.refusal = "the epoch is 2, not 1"
    there.topics["crl.tasks"] = [a_snapshot(7, a_review("approved", proposal_id="prop-other"), a_review("deferred"))]
    with pytest.raises(CommandRefused, match="the epoch is 2, not 1") as caught:
        there.call("approve", ID)
    assert caught.value.hint == f"see its state with crl proposals show {ID}"


@pytest.mark.parametrize("command", [["approve"], ["reject", "-m", "no"], ["defer"]])
@pytest.mark.parametrize("status", ["approved", "rejected", "superseded", "expired"])
def test_what_is_closed_is_not_ordered_again_and_one_is_told_who_closed_it(
    there: Installation, status: str, command: list[str]
) -> None:
    there.topics["crl.proposals"] = [the_guide_s(status=status, actor="bob", why="seen in staging", revision=2)]
    with pytest.raises(CommandRefused) as caught:
        there.call(command[0], ID, *command[1:])
    assert there.given == []
    assert "expired at" in caught.value.message or "by bob since" in caught.value.message


# -- exporting -------------------------------------------------------------------------------------
def test_an_export_goes_to_stdout_or_whole_into_a_file(there: Installation, tmp_path: Path) -> None:
    there.topics["crl.proposals"].append(another(1, status="rejected", actor="ada", why="no"))
    to_stdout = there.call("export", "--format", "tracker").stdout_bytes
    assert [entry["status"] for entry in json.loads(to_stdout)["entries"]] == ["rejected", "pending"]
    file = tmp_path / "out.csv"
    file.write_text("old", encoding="utf-8")
    said = there.json("export", "-f", "csv", "-o", str(file), "--status", "open")
    assert said == {"file": str(file), "format": "csv", "proposals": 1, "bytes": file.stat().st_size}
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert ID in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [["-f", "pdf"], ["-f", "csv", "--json"], ["-f", "csv", "-o", "/nowhere/x.csv"], ["-f", "csv", "-o", "/"]],
)
def test_an_export_that_cannot_be_written_is_wrong_usage(there: Installation, arguments: list[str]) -> None:
    with pytest.raises(CrlError) as caught:
        there.call("export", *arguments)
    assert caught.value.exit_code == 2
