"""``crl replay`` runs the engine over a file, prints decisions on stdout, and writes nothing else."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from builders import invocations
from msgspec.structs import replace

from cli.program import Program
from crl_stream.core import messages as m
from crl_stream.wire.codec import encode


def a_file(folder: Path) -> Path:
    """Write a file in which one variant does well and then fails, while another one always does well."""
    story = [("default", "S" * 30, 1.0), ("v2", "S" * 30, 0.5), ("default", "F" * 15, -1.0)]
    return written(folder, [m for variant, s, reward in story for m in invocations(variant, s, reward=reward)])


def written(folder: Path, messages: list[m.Invocation]) -> Path:
    file = folder / "outcomes.jsonl"
    file.write_bytes(b"".join(encode(message) + b"\n" for message in messages))
    return file


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_file_is_folded_and_what_a_worker_would_do_is_printed_and_nothing_written(crl: Program) -> None:
    file = a_file(crl.folder)
    before = everything(crl.folder)
    result = crl.run("replay", file.name)
    assert result.code == 0
    assert any("ROLLBACK backend-architect/api-design: default -> v2" in line for line in result.out.splitlines())
    assert "75 messages" in result.err
    assert everything(crl.folder) == before


def test_the_json_says_the_same_decisions_one_document_a_line(crl: Program) -> None:
    file = a_file(crl.folder)
    lines = crl.run("replay", file.name).out.splitlines()
    documents = [json.loads(line) for line in crl.run("replay", file.name, "--json").out.splitlines()]
    summary = documents.pop()
    assert len(documents) == len(lines) > 0
    assert (summary["topic"], summary["message"]["messages"]) == ("summary", 75)
    assert sum(summary["message"]["shown"].values()) == len(documents)
    (rollback,) = [d["message"] for d in documents if d["topic"] == "crl.rollbacks"]
    assert (rollback["from_variant"], rollback["to_variant"]) == ("default", "v2")


def test_what_would_be_proposed_is_printed_where_it_belongs_in_the_story(crl: Program) -> None:
    """A task's only variant performs badly, then worse: a second one is proposed before the first is degraded."""
    story = invocations("default", "S" * 60 + "F" * 30, reward=0.5)
    stamped = [replace(one, timestamp=f"2025-11-19T14:{n // 60:02}:{n % 60:02}Z") for n, one in enumerate(story)]
    file = written(crl.folder, stamped)
    result = crl.run("replay", file.name)
    documents = [json.loads(line) for line in crl.run("replay", file.name, "--json").out.splitlines()]
    proposals = [d["message"] for d in documents if d["topic"] == "crl.proposals"]
    first = proposals[0]
    assert (first["proposal_type"], first["status"]) == ("create_specialized_variant", "pending")
    said = [line for line in result.out.splitlines() if "  proposal " in line]
    assert len(said) == len(proposals)
    new = first["target_variant"]
    assert f"  proposal pending backend-architect/api-design: create_specialized_variant {new}, " in said[0]
    times = [line.split()[0] for line in result.out.splitlines()]
    assert times == sorted(times)
    order = [d["topic"] for d in documents]
    assert order.index("crl.decisions") < order.index("crl.proposals") < order.index("crl.degradations")
    assert f"{len(proposals)} new or changed proposals" in result.err


def test_the_catalogue_of_the_settings_is_the_one_that_a_replay_proposes_by(crl: Program) -> None:
    file = written(crl.folder, invocations("default", "S" * 60, reward=0.5))
    (crl.folder / "mine.toml").write_text("not a catalogue", encoding="utf-8")
    result = crl.run("--set", "proposer.modifications_file=mine.toml", "replay", file.name)
    assert result.faults(2) == []
    assert "crl: mine.toml is not TOML: " in result.err


def test_a_replay_of_the_same_file_says_the_same_each_time_also_from_stdin(crl: Program) -> None:
    file = a_file(crl.folder)
    by_file = crl.run("replay", file.name)
    assert crl.run("replay", file.name).out == by_file.out
    assert crl.run("replay", "-", said=file.read_text(encoding="utf-8")).out == by_file.out


def test_the_settings_in_force_are_those_of_the_replay(crl: Program) -> None:
    file = a_file(crl.folder)
    flags = ["--set", "operations.mode=observe"]
    result = crl.run(*flags, "replay", file.name, "--json")
    assert result.code == 0
    documents = [json.loads(line) for line in result.out.splitlines()]
    digest = crl.run(*flags, "config", "validate").out.split()[-1]
    assert {d["message"]["policy_hash"] for d in documents if "policy_hash" in d["message"]} == {digest}
    assert [d for d in documents if d["topic"] == "crl.rollbacks"] == []


def test_a_file_with_nothing_in_it_decides_nothing(crl: Program) -> None:
    result = crl.run("replay", "-", said="\n\n")
    assert (result.code, result.out) == (0, "")
    assert "there was nothing to replay" in result.err


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"type": "feedback"}',
        '{"type": "no-such-type"}',
        '{"schema_version": 1}',
        "\ud83d".encode("utf-8", "surrogatepass").decode("latin-1"),
        (
            '{"schema_version": 1, "invocation_id": "i", "timestamp": "soon", "agent_name": "a", "task_type": "t", '
            '"variant_id": "v", "status": "success"}'
        ),
        (
            '{"schema_version": 1, "invocation_id": "i", "timestamp": "2025-11-19T14:30:00Z", "agent_name": "a b", '
            '"task_type": "t", "variant_id": "v", "status": "success"}'
        ),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_decided(crl: Program, line: str) -> None:
    good = a_file(crl.folder).read_text(encoding="utf-8").splitlines()
    (crl.folder / "bad.jsonl").write_text("\n".join([*good[:70], line, *good[70:]]), encoding="latin-1")
    for command in (["replay", "bad.jsonl"], ["publish", "--file", "bad.jsonl"]):
        result = crl.run(*command)
        assert result.faults(2) == []
        assert "crl: bad.jsonl, line 71: " in result.err


def stamped(messages: list[m.Invocation]) -> list[m.Invocation]:
    return [replace(one, timestamp=f"2025-11-19T14:{n // 60:02}:{n % 60:02}Z") for n, one in enumerate(messages)]


def a_story() -> list[m.Invocation]:
    parts = [("default", "S" * 30, 1.0), ("v2", "S" * 30, 0.5), ("default", "F" * 15, -1.0)]
    return stamped([one for variant, s, reward in parts for one in invocations(variant, s, reward=reward)])


def decisions(out: str) -> list[dict[str, object]]:
    """Return every document except the summary."""
    return [json.loads(line) for line in out.splitlines()][:-1]


def test_one_timestamp_a_day_ahead_changes_no_decision(crl: Program) -> None:
    story = a_story()
    right = decisions(crl.run("replay", written(crl.folder, story).name, "--json").out)
    wrong = [replace(one, timestamp="2025-11-20T14:00:00Z") if n == 40 else one for n, one in enumerate(story)]
    result = crl.run("replay", written(crl.folder, wrong).name, "--json")
    found = decisions(result.out)
    assert [one for one in found if one["message"].get("kind") != "clock_skew"] == right  # type: ignore[attr-defined]
    assert len(found) == len(right) + 1, "a wrong clock only adds one alert"
    assert "timestamps in the file go back once, first at line 42" in result.err
    assert json.loads(result.out.splitlines()[-1])["message"]["first_backwards_line"] == 42


def test_a_file_is_folded_as_it_stands_unless_its_timestamps_are_to_order_it(crl: Program) -> None:
    story = a_story()
    in_order = decisions(crl.run("replay", written(crl.folder, story).name, "--json").out)
    turned = written(crl.folder, story[60:] + story[:60]).name
    as_it_stands = crl.run("replay", turned, "--json")
    assert decisions(as_it_stands.out) != in_order
    assert "go back" in as_it_stands.err
    by_time = crl.run("replay", turned, "--json", "--order-by-time")
    assert decisions(by_time.out) == in_order
    assert "go back" not in by_time.err
    assert json.loads(by_time.out.splitlines()[-1])["message"]["order"] == "time"


def test_alerts_are_printed_as_people_would_be_told_of_them(crl: Program) -> None:
    result = crl.run("replay", a_file(crl.folder).name, "--json")
    alerts = [one["message"] for one in decisions(result.out) if one["topic"] == "crl.alerts"]
    assert {"rollback"} <= {one["kind"] for one in alerts}  # type: ignore[index]
    assert " CRITICAL " in crl.run("replay", "outcomes.jsonl").out


def test_repeated_lines_are_reported_with_what_the_monitor_makes_of_them(crl: Program) -> None:
    story = a_story()
    once = written(crl.folder, [*story, *story[-10:]])
    assert "10 messages repeat an earlier id: 10 recognised as duplicates" in crl.run("replay", once.name).err
    twice = crl.run("replay", written(crl.folder, [*story, *story]).name, "--json")
    summary = json.loads(twice.out.splitlines()[-1])["message"]
    assert (summary["messages"], summary["repeated_ids"]) == (150, 75)
    assert summary["applied"] + summary["duplicates"] == 150
    assert "counted again (a task remembers its last 64 ids, limits.duplicate_ids)" in twice.err


def test_scores_that_came_too_late_to_count_are_counted(crl: Program) -> None:
    story = invocations("default", "S" * 40)
    scores = [
        m.Feedback(
            schema_version=1,
            feedback_id=f"late-{number}",
            invocation_id=one.invocation_id,
            timestamp=one.timestamp,
            agent_name=one.agent_name,
            task_type=one.task_type,
            reward=-1.0,
        )
        for number, one in enumerate(story)
    ]
    file = crl.folder / "scored.jsonl"
    file.write_bytes(b"\n".join(encode(one) for one in [*story, *scores]))
    result = crl.run("replay", file.name, "--json")
    assert "20 scores came too late to count" in result.err
    assert json.loads(result.out.splitlines()[-1])["message"]["too_late"] == 20


@pytest.mark.parametrize("profile", ["guide", "production"])
def test_the_profile_that_judges_is_named_with_its_origin_and_meaning(crl: Program, profile: str) -> None:
    crl.environment["CRL_PROFILE"] = profile
    err = crl.run("replay", a_file(crl.folder).name).err
    assert f"judged by profile {profile} (environment CRL_PROFILE): " in err


def test_a_packed_file_says_what_the_plain_one_says(crl: Program) -> None:
    file = a_file(crl.folder)
    plain = crl.run("replay", file.name, "--json").out
    (crl.folder / "outcomes.jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert crl.run("replay", "outcomes.jsonl.gz", "--json").out == plain


@pytest.mark.parametrize("year", ["2019", "2024", "2031"])
def test_the_silence_after_the_last_message_begins_with_it_and_not_at_an_hour_of_ours(crl: Program, year: str) -> None:
    """A task's only variant performs badly: the proposal waits for a person and does not expire at once."""
    story = invocations("default", "SF" * 40 + "F" * 20, reward=0.0)
    stamped = [replace(one, timestamp=f"{year}-06-01T{n // 60:02}:{n % 60:02}:00Z") for n, one in enumerate(story)]
    lines = crl.run("replay", written(crl.folder, stamped).name).out.splitlines()
    assert any(" proposal pending " in line for line in lines)
    assert not any(" expired " in line for line in lines)
    assert max(line.split()[0] for line in lines) < f"{year}-06-01T01:40"
