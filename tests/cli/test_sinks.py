"""``crl archive`` and ``crl notify`` as a person calls them; neither needs Kafka."""

from __future__ import annotations

import json
from pathlib import Path

from cli.program import Program

LINE = '{"rollback_id":"rb-1","timestamp":"2001-01-02T00:00:00Z","event_id":"rb-1"}\n'


def telemetry(crl: Program) -> Path:
    folder = crl.folder / "telemetry" / "crl"
    folder.mkdir(parents=True)
    (folder / "rollback_events.jsonl").write_text(LINE, encoding="utf-8")
    return folder


def test_archive_moves_what_is_old_in_the_folder_of_the_settings_and_says_how_much(crl: Program) -> None:
    folder = telemetry(crl)
    dry = crl.run("archive", "--dry-run")
    assert (dry.code, dry.out.splitlines()[0]) == (0, "rollback_events.jsonl: 1 would move, 0 kept")
    assert (folder / "rollback_events.jsonl").read_text(encoding="utf-8") == LINE
    done = crl.run("archive", "--json")
    assert json.loads(done.out) == {
        "folder": "telemetry/crl",
        "dry_run": False,
        "files": [
            {"file": "rollback_events.jsonl", "months": {"2001-01": 1}, "kept": 0},
            {"file": "variant_proposals.jsonl", "months": {}, "kept": 0},
        ],
    }
    assert (folder / "rollback_events-2001-01.jsonl.gz").is_file()
    assert "nothing in telemetry/crl is older than 52w" in crl.run("archive", "--older-than", "52w").out


def test_archive_of_a_folder_that_is_not_there_says_how_to_name_another(crl: Program) -> None:
    result = crl.run("archive", "--folder", "nowhere")
    assert result.faults(4) == []
    assert "--folder" in result.err


def test_notify_lists_the_channels_without_their_secrets_and_tests_one(crl: Program) -> None:
    crl.environment["CRL_CONFIG"] = "crl.toml"
    (crl.folder / "crl.toml").write_text(
        '[notifiers.ops]\nkind = "webhook"\nurl = "https://T0P:T0P@example.com:8443/T0P-SECRET"\n'
        'secret = "0123456789abcdef-T0P"\n[notifiers.audit]\nkind = "file"\npath = "alerts.jsonl"\n',
        encoding="utf-8",
    )
    shown = crl.run("notify", "list")
    assert (shown.code, shown.err) == (0, "")
    assert "https://example.com:8443" in shown.out.split()
    assert "T0P" not in shown.out
    listed = json.loads(crl.run("notify", "list", "--json").out)["notifiers"]
    assert [(one["name"], one["kind"]) for one in listed] == [("ops", "webhook"), ("audit", "file")]
    sent = crl.run("notify", "test", "audit", "--json")
    assert json.loads(sent.out) == {"name": "audit", "delivered": True}
    line = json.loads((crl.folder / "alerts.jsonl").read_text(encoding="utf-8"))
    assert (line["kind"], line["severity"]) == ("test", "info")


def test_a_channel_that_is_not_there_is_not_found_and_one_that_does_not_take_it_is_unavailable(crl: Program) -> None:
    unknown = crl.run("notify", "test", "ops")
    assert unknown.faults(4) == []
    crl.environment["CRL_CONFIG"] = "crl.toml"
    (crl.folder / "crl.toml").write_text(
        '[notifiers.ops]\nkind = "webhook"\nurl = "http://127.0.0.1:1/T0P-SECRET"\nsecret = "0123456789abcdef-T0P"\n',
        encoding="utf-8",
    )
    refused = crl.run("notify", "test", "ops")
    assert refused.faults(69) == []
    assert "T0P" not in refused.err


def test_a_channel_without_its_secret_is_listed_as_disabled_with_the_variable_and_stops_no_command(
    crl: Program,
) -> None:
    crl.environment["CRL_CONFIG"] = "crl.toml"
    (crl.folder / "crl.toml").write_text(
        '[notifiers.on-call]\nkind = "webhook"\nurl = "https://example.com/T0P-SECRET"\n[notifiers.a]\nkind = "log"\n',
        encoding="utf-8",
    )
    listed = json.loads(crl.run("notify", "list", "--json").out)["notifiers"]
    assert [(one["name"], bool(one["disabled"])) for one in listed] == [("a", False), ("on-call", True)]
    assert "set CRL_NOTIFIERS_ON_CALL_SECRET" in listed[1]["disabled"]
    shown = crl.run("notify", "list")
    assert "DISABLED: notifiers.on-call.secret (crl.toml, line 2) is missing" in shown.out
    assert "T0P-SECRET" not in shown.out + crl.run("config", "show").out
    assert crl.run("broker", "status").code == 4, "the broker is not running, and nothing else is wrong"
    for command in (["notify", "test", "on-call"], ["config", "validate"]):
        result = crl.run(*command)
        assert result.faults(2) == []
        assert "CRL_NOTIFIERS_ON_CALL_SECRET" in result.err
