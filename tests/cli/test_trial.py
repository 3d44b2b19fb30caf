"""``crl replay --policy`` compares two policies on a file: exit code 0 if their decisions agree, 3 if not."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from builders import invocations
from msgspec.structs import replace

from cli.program import Program, Result
from crl_stream.core.policy import GUIDE
from crl_stream.settings.policy_file import profile_policy
from crl_stream.wire.codec import encode

STORY = [("default", "S" * 40), ("v2", "SSSSSSSSSF" * 4), ("default", "FS" * 30)]


def a_file(folder: Path) -> str:
    """Write a file in which a variant fails half the time from its 41st outcome on."""
    story = [one for variant, letters in STORY for one in invocations(variant, letters)]
    lines = [
        encode(replace(one, timestamp=f"2025-11-19T14:{n // 60:02}:{n % 60:02}Z", invocation_id=f"inv-{n}"))
        for n, one in enumerate(story)
    ]
    (folder / "outcomes.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return "outcomes.jsonl"


def document(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_the_policy_that_judges_a_file_makes_no_difference_to_it(crl: Program) -> None:
    file = a_file(crl.folder)
    result = crl.run("replay", file, "--policy", "settings")
    assert result.code == 0
    assert "No decision differs: both policies make the same" in result.out
    log = document(crl.run("--set", "profile=production", "replay", file, "--policy", "log", "--json"))
    assert (log["same"], log["policy"]["from"]) == (True, "your settings (profile production)")
    same = crl.run("replay", file, "--policy", "guide", "--json")
    assert same.code == 0
    assert (document(same)["same"], document(same)["tasks"], document(same)["settings"]) == (True, [], [])
    assert document(same)["unchanged"] > 0


def test_a_policy_that_decides_otherwise_ends_with_code_3_and_says_what_and_at_what_price(crl: Program) -> None:
    file = a_file(crl.folder)
    result = crl.run("replay", file, "--policy", "production")
    assert result.code == 3
    assert any("rollback default -> v2" in line and "later by " in line for line in result.out.splitlines())
    assert " more to " in result.out
    assert "This is an estimate." in result.out
    found = document(crl.run("replay", file, "--policy", "production", "--json"))
    [rollback] = [one for task in found["tasks"] for one in task["changes"] if one["kind"] == "rollback"]
    assert rollback["change"] == "later"
    assert rollback["policy"]["outcome"] - rollback["against"]["outcome"] == rollback["outcomes"] > 0
    assert found["bad_invocations"]["saved"] < 0
    assert (found["against"]["policy_hash"], found["policy"]["policy_hash"]) == (
        GUIDE.digest(),
        profile_policy("production").digest(),
    )
    assert {one["setting"] for one in found["settings"]} >= {"degradation.guard"}


def test_exchanging_the_policies_turns_the_report_around(crl: Program) -> None:
    file = a_file(crl.folder)
    there = document(crl.run("replay", file, "--policy", "production", "--against", "guide", "--json"))
    back = document(crl.run("replay", file, "--policy", "guide", "--against", "production", "--json"))
    turned = {"added": "removed", "removed": "added", "earlier": "later", "later": "earlier"}
    for kind, counts in there["counts"].items():
        assert back["counts"][kind] == {turned[change]: count for change, count in counts.items()}
    assert there["bad_invocations"]["saved"] == -back["bad_invocations"]["saved"]


def test_of_a_settings_file_only_the_policy_counts_and_of_the_environment_nothing(crl: Program) -> None:
    file = a_file(crl.folder)
    (crl.folder / "new.toml").write_text(
        'profile = "production"\n[kafka]\nbootstrap_servers = "nowhere:1"\n[notifiers.x]\nkind = "no-such-kind"\n'
        '[degradation]\nlookback_window = 30\n[tasks."a/t".degradation]\nsuccess_drop = 0.5\n',
        encoding="utf-8",
    )
    crl.environment["CRL_DEGRADATION_LOOKBACK_WINDOW"] = "12"
    found = document(crl.run("replay", file, "--policy", "new.toml", "--against", "production", "--json"))
    assert found["settings"] == [
        {"setting": "degradation.lookback_window", "against": 20, "policy": 30},
        {"setting": 'tasks."a/t".degradation.success_drop', "against": 0.1, "policy": 0.5},
    ]
    assert (found["against"]["from"], found["policy"]["from"]) == ("profile production", "new.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[degradation]\nlookback_windw = 30\n", "degradation.lookback_windw"),
        ("[degradation]\nlookback_window = 'many'\n", "degradation.lookback_window"),
        ("profile = 'nonsense'\n", "nonsense"),
        ("not toml", "is not TOML"),
    ],
)
def test_a_wrong_policy_file_is_refused_with_the_setting_and_nothing_is_compared(
    crl: Program, text: str, said: str
) -> None:
    (crl.folder / "new.toml").write_text(text, encoding="utf-8")
    result = crl.run("replay", a_file(crl.folder), "--policy", "new.toml", "--html", "page.html")
    assert result.faults(2) == []
    assert said in result.err
    assert not (crl.folder / "page.html").exists()


def test_the_policy_in_force_needs_a_kafka_and_a_file_does_not(crl: Program) -> None:
    result = crl.run("replay", a_file(crl.folder), "--policy", "in-force")
    assert result.faults(69) == []


def test_the_page_has_the_same_bytes_each_time_whatever_the_hashes_of_python(crl: Program) -> None:
    file = a_file(crl.folder)
    pages = []
    for seed in ("1", "2"):
        crl.environment["PYTHONHASHSEED"] = seed
        with crl.start("replay", file, "--policy", "production", "--html", "page.html", stdout=subprocess.DEVNULL) as p:
            p.communicate()
        assert p.returncode == 3
        pages.append((crl.folder / "page.html").read_bytes())
    assert pages[0] == pages[1]
    assert pages[0].startswith(b"<!doctype html>")


def test_only_the_page_is_written_and_the_report_is_printed_beside_it(crl: Program) -> None:
    file = a_file(crl.folder)
    before = {path.name for path in crl.folder.rglob("*")}
    result = crl.run("replay", file, "--policy", "production", "--html", "page.html", "--json")
    assert {path.name for path in crl.folder.rglob("*")} - before == {"page.html"}
    assert document(result)["same"] is False
    assert "wrote page.html" in result.err


def test_a_folder_that_cannot_take_the_page_is_refused_before_the_work(crl: Program) -> None:
    (crl.folder / "taken").mkdir()
    for place in ("nowhere/page.html", "taken"):
        result = crl.run("replay", a_file(crl.folder), "--policy", "production", "--html", place)
        assert result.faults(2) == []


def test_a_file_says_the_same_packed_or_not_or_from_stdin(crl: Program) -> None:
    file = a_file(crl.folder)
    plain = document(crl.run("replay", file, "--policy", "production", "--json"))
    content = (crl.folder / file).read_bytes()
    (crl.folder / "packed.jsonl.gz").write_bytes(gzip.compress(content))
    packed = document(crl.run("replay", "packed.jsonl.gz", "--policy", "production", "--json"))
    stdin = document(crl.run("replay", "-", "--policy", "production", "--json", said=content.decode()))
    for other in (packed, stdin):
        other["input"]["name"] = plain["input"]["name"]
        assert other == plain


def test_a_bad_line_is_named_and_no_report_is_made_of_the_others(crl: Program) -> None:
    file = a_file(crl.folder)
    with (crl.folder / file).open("ab") as lines:
        lines.write(b"{\n")
    result = crl.run("replay", file, "--policy", "production", "--html", "page.html")
    assert result.faults(2) == []
    assert f"{file}, line 141: " in result.err
    assert not (crl.folder / "page.html").exists()


def test_a_file_without_messages_is_compared_too(crl: Program) -> None:
    result = crl.run("replay", "-", "--policy", "production", said="\n")
    assert result.code == 0
    assert "there was nothing to replay" in result.err


def test_names_that_no_runtime_may_use_do_not_enter_a_report(crl: Program) -> None:
    [one] = invocations("default", "S")
    line = encode(one).replace(b'"default"', b'"<script>alert(1)</script>"')
    result = crl.run("replay", "-", "--policy", "production", said=line.decode())
    assert result.faults(2) == []
