"""``crl config``: the settings in force and their origins, a file to start with, and checks of a file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.program import Program
from crl_stream.settings import PROFILES
from crl_stream.settings.model import leaves

SECRET = "a-secret-nobody-may-see"


def shown(crl: Program, *options: str) -> dict[str, Any]:
    result = crl.run(*options, "config", "show", "--json")
    assert (result.code, result.err) == (0, "")
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_show_names_every_setting_with_its_value_and_origin(crl: Program) -> None:
    (crl.folder / "crl.toml").write_text(
        'profile = "conservative"\n[review]\ntimezone = "Europe/Vienna"\n', encoding="utf-8"
    )
    crl.environment["CRL_BROKER_HEAP_MB"] = "300"
    document = shown(crl, "--set", "kafka.replication_factor=3")
    settings = document["settings"]
    assert settings.keys() == leaves().keys() | {"profile"}
    assert settings["degradation.lookback_window"] == {"value": 20, "origin": "default"}
    assert settings["auto_apply.min_samples"] == {"value": 20, "origin": "profile conservative"}
    assert settings["review.timezone"] == {"value": "Europe/Vienna", "origin": "crl.toml"}
    assert settings["broker.heap_mb"] == {"value": 300, "origin": "environment CRL_BROKER_HEAP_MB"}
    assert settings["kafka.replication_factor"] == {"value": 3, "origin": "flag --set kafka.replication_factor"}
    assert len(document["policy_hash"]) == 16


def test_the_table_for_people_says_the_same_and_names_the_variables_when_asked(crl: Program) -> None:
    flag = "agents.a.degradation.lookback_window"
    lines = crl.run("--set", f"{flag}=30", "config", "show", "--env").out.splitlines()
    row = next(line.split() for line in lines if line.startswith("kafka.partitions"))
    assert row == ["kafka.partitions", "4", "default", "CRL_KAFKA_PARTITIONS"]
    override = next(line for line in lines if line.startswith(flag))
    assert "CRL_" not in override, "no variable overrides an agent's settings"
    assert len(lines) == 1 + 1 + len(leaves()) + 1


@pytest.mark.parametrize("name", ["kafka.sasl_password", "worker.web_token"])
def test_a_secret_is_never_shown_whichever_layer_it_comes_from(crl: Program, name: str) -> None:
    section, _, entry = name.partition(".")
    (crl.folder / "with-secret.toml").write_text(f'[{section}]\n{entry} = "{SECRET}"\n', encoding="utf-8")
    variable = "CRL_" + name.replace(".", "_").upper()
    for options in (["--config", "with-secret.toml"], ["--set", f"{name}={SECRET}"], []):
        if not options:
            crl.environment[variable] = SECRET
        for command in (["config", "show", "--json"], ["config", "show", "--env"], ["config", "validate"]):
            result = crl.run(*options, *command)
            assert result.code == 0
            assert SECRET not in result.out + result.err
        assert shown(crl, *options)["settings"][name]["value"] == "set"


def test_a_secret_that_is_not_set_is_shown_as_empty(crl: Program) -> None:
    assert shown(crl)["settings"]["worker.web_token"]["value"] == ""


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_the_file_that_init_writes_is_in_force_at_once_and_means_its_profile(crl: Program, profile: str) -> None:
    made = crl.run("config", "init", "--profile", profile)
    assert made.code == 0 and "run crl config trust afterwards" in made.err
    settings = shown(crl)["settings"]
    guard = "evidence" if profile == "production" else "none"
    assert settings["degradation.guard"] == {"value": guard, "origin": "crl.toml"}
    assert settings["profile"] == {"value": profile, "origin": "crl.toml"}
    assert crl.run("config", "validate").code == 0


def test_the_file_that_init_writes_unasked_has_the_evidence_guard_and_says_why(crl: Program) -> None:
    result = crl.run("config", "init")
    assert result.code == 0
    assert "profile production: a rollback needs the rule and the evidence" in result.err
    text = (crl.folder / "crl.toml").read_text(encoding="utf-8")
    assert 'profile = "production"' in text and 'guard = "evidence"' in text
    assert "rolls a healthy variant back every 40 to 132" in text


def test_init_replaces_no_file_unless_it_is_told_to(crl: Program) -> None:
    file = crl.folder / "crl.toml"
    file.write_text("# mine\n", encoding="utf-8")
    result = crl.run("config", "init")
    assert result.faults(2) == []
    assert "--force" in result.err
    assert file.read_text(encoding="utf-8") == "# mine\n"
    assert crl.run("config", "init", "--force").code == 0
    assert "guard" in file.read_text(encoding="utf-8")


def test_init_and_validate_say_as_json_which_policy_they_made(crl: Program) -> None:
    written = json.loads(crl.run("config", "init", "mine.toml", "--profile", "conservative", "--json").out)
    valid = json.loads(crl.run("config", "validate", "mine.toml", "--json").out)
    policy = shown(crl, "--config", "mine.toml")["policy_hash"]
    assert (written["path"], written["profile"], written["policy_hash"]) == ("mine.toml", "conservative", policy)
    assert "0.95" in written["meaning"]
    assert valid == {"valid": True, "profile": "conservative", "policy_hash": policy}


def test_validate_says_the_profile_and_the_policy_that_a_right_file_makes(crl: Program) -> None:
    (crl.folder / "mine.toml").write_text('profile = "conservative"\n', encoding="utf-8")
    result = crl.run("config", "validate", "mine.toml")
    assert result.code == 0
    assert result.out.startswith("valid: profile conservative, policy ")
    assert result.out.split()[-1] == shown(crl, "--config", "mine.toml")["policy_hash"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[degradation]\nlookback_windw = 3\n", "nearest name is degradation.lookback_window"),
        ("[degradation]\nlookback_window = 1\n", "degradation.lookback_window = 1 (mine.toml, line 2)"),
        ('profile = ["guide"]\n', "There is no profile"),
        ("[degradation\n", "is not TOML"),
    ],
)
def test_validate_says_what_is_wrong_with_a_file(crl: Program, content: str, said: str) -> None:
    (crl.folder / "mine.toml").write_text(content, encoding="utf-8")
    result = crl.run("config", "validate", "mine.toml")
    assert result.faults(2) == []
    assert said in result.err


def test_a_file_that_is_wrong_stops_every_command_that_has_settings(crl: Program) -> None:
    (crl.folder / "crl.toml").write_text("[kafka]\npartition = 3\n", encoding="utf-8")
    for result in crl.run_all([["status"], ["topics", "diff"], ["worker"], ["broker", "status"], ["config", "show"]]):
        assert result.faults(2) == []
        assert "the nearest name is kafka.partitions" in result.err


HOSTILE = '[degradation]\nlookback_window = 30\n[kafka]\nbootstrap_servers = "attacker:9"\n'


def test_a_file_that_lies_in_the_folder_names_no_kafka_until_it_is_trusted(crl: Program) -> None:
    """A stranger's repository must not redirect the tool or obtain the password from the environment."""
    (crl.folder / "crl.toml").write_text(HOSTILE, encoding="utf-8")
    result = crl.run("config", "show", "--json")
    page = json.loads(result.out)
    assert page["settings"]["kafka.bootstrap_servers"] == {"value": "", "origin": "default"}
    assert page["settings"]["degradation.lookback_window"] == {"value": 30, "origin": "crl.toml"}
    assert page["untrusted"] == {
        "path": str(crl.folder / "crl.toml"),
        "ignored": ["kafka.bootstrap_servers"],
    }
    assert result.err == (
        "crl.toml in this folder is not trusted: ignored kafka.bootstrap_servers; read it, "
        "then run `crl config trust`\n"
    )
    trusted = json.loads(crl.run("config", "trust", "--json").out)
    assert (trusted["path"], trusted["accepted"]) == (str(crl.folder / "crl.toml"), ["kafka.bootstrap_servers"])
    assert shown(crl)["settings"]["kafka.bootstrap_servers"]["value"] == "attacker:9"


def test_what_is_trusted_can_be_listed_and_taken_back(crl: Program) -> None:
    file = crl.folder / "crl.toml"
    file.write_text(HOSTILE, encoding="utf-8")
    assert json.loads(crl.run("config", "trust", "--list", "--json").out) == {"trusted": []}
    assert crl.run("config", "trust").code == 0
    (listed,) = json.loads(crl.run("config", "trust", "--list", "--json").out)["trusted"]
    assert (listed["path"], listed["state"]) == (str(file), "trusted")
    file.write_text(HOSTILE + "\n", encoding="utf-8")
    assert "changed" in crl.run("config", "trust", "--list").out
    assert "has changed since it was trusted" in crl.run("config", "show").err
    assert json.loads(crl.run("config", "trust", "--revoke", "--json").out) == {"path": str(file), "trusted": False}
    assert crl.run("config", "trust", "--revoke").faults(4) == []


def test_a_file_that_is_wrong_or_not_there_is_not_trusted(crl: Program) -> None:
    assert crl.run("config", "trust").faults(4) == []
    (crl.folder / "crl.toml").write_text("[kafka]\npartitions = 0\n", encoding="utf-8")
    result = crl.run("config", "trust")
    assert result.faults(2) == []
    assert "(crl.toml, line 2)" in result.err


def test_validate_checks_the_part_of_a_file_that_is_not_trusted_too(crl: Program) -> None:
    (crl.folder / "crl.toml").write_text("[kafka]\npartitions = 0\n", encoding="utf-8")
    assert crl.run("config", "show").code == 0
    assert crl.run("config", "validate").faults(2) == []
