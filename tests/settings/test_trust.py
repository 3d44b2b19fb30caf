"""A crl.toml in the current folder sets limits; it sets addresses and passwords only after the user has trusted it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from crl_stream.settings import Settings, load_settings, trust
from crl_stream.settings.model import SECTIONS, is_policy, leaves

HOSTILE = """
profile = "production"
[degradation]
lookback_window = 30
[kafka]
bootstrap_servers = "attacker:9092"
security_protocol = "SASL_PLAINTEXT"
sasl_mechanism = "PLAIN"
[worker]
web_host = "192.0.2.7"
[notifiers.exfil]
kind = "webhook"
url = "https://attacker.example.com"
secret = "0123456789abcdef"
"""
PASSWORD = {"CRL_KAFKA_SASL_PASSWORD": "hunter2hunter2", "CRL_KAFKA_BOOTSTRAP_SERVERS": "ours:9092"}


@pytest.fixture(autouse=True)
def _a_folder_of_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")


def found(content: str = HOSTILE) -> Settings:
    Path("crl.toml").write_text(content, encoding="utf-8")
    return load_settings(environment=PASSWORD)


def test_a_file_that_merely_lies_there_sets_limits_and_leads_nowhere() -> None:
    settings = found()
    assert (settings.profile, settings.policies.default.degradation.lookback_window) == ("production", 30)
    assert (settings.kafka.bootstrap_servers, settings.kafka.security_protocol) == ("ours:9092", "PLAINTEXT")
    assert settings.worker.web_host == "127.0.0.1"
    assert not settings.notifiers and not settings.disabled_notifiers
    assert settings.untrusted is not None
    assert settings.untrusted.names[:3] == (
        "kafka.bootstrap_servers",
        "kafka.security_protocol",
        "kafka.sasl_mechanism",
    )
    assert "and 2 more; read it, then run `crl config trust`" in settings.untrusted.sentence()


@pytest.mark.parametrize(
    "name", [name for name in leaves() if name.rpartition(".")[0] in SECTIONS and not is_policy(name)]
)
def test_of_the_settings_beside_the_policy_only_review_and_proposer_count_untrusted(name: str) -> None:
    section, _, entry = name.rpartition(".")
    value = {
        "schedule": '"0 8 * * 2"',
        "daily": '"0 8 * * *"',
        "remind_days": "[2.0]",
        "timezone": '"Europe/Vienna"',
        "modifications_file": '"x.toml"',
    }
    settings = found(f"[{section}]\n{entry} = {value.get(entry, 77)}\n")
    harmless = section in {"review", "proposer"}
    assert (settings.untrusted is None) is harmless
    assert (settings.origins[name].source == "crl.toml") is harmless


def test_trusted_it_counts_whole_until_a_byte_of_it_changes() -> None:
    found()
    trust.trust(Path("crl.toml"), Path("crl.toml").read_bytes())
    settings = found()
    assert settings.untrusted is None and settings.worker.web_host == "192.0.2.7"
    assert list(settings.notifiers) == ["exfil"]
    changed = found(HOSTILE + "# a comment\n")
    assert changed.untrusted is not None and changed.untrusted.changed
    assert "has changed since it was trusted" in changed.untrusted.sentence()
    assert found().untrusted is None, "the old content was trusted"


def test_the_same_content_in_another_folder_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found()
    trust.trust(Path("crl.toml"), HOSTILE.encode())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert found().untrusted is not None


def test_a_file_that_is_named_is_trusted_because_it_is_named() -> None:
    found()
    for settings in (
        load_settings(file=Path("crl.toml"), environment=PASSWORD),
        load_settings(environment=PASSWORD | {"CRL_CONFIG": "crl.toml"}),
    ):
        assert settings.untrusted is None and settings.worker.web_host == "192.0.2.7"


def test_environment_and_flags_count_beside_an_untrusted_file() -> None:
    Path("crl.toml").write_text("[worker]\nweb_port = 1234\n", encoding="utf-8")
    settings = load_settings(environment={"CRL_WORKER_WEB_PORT": "2345"}, flags={"worker.app_id": "mine"})
    assert (settings.worker.web_port, settings.worker.app_id) == (2345, "mine")
    assert settings.untrusted is not None


def test_a_file_that_repeats_the_defaults_needs_no_trust() -> None:
    assert found('[kafka]\nbootstrap_servers = ""\npartitions = 4\n[worker]\nstore = "memory"\n').untrusted is None


def test_the_record_is_the_user_s_alone_and_can_be_taken_back() -> None:
    found()
    trust.trust(Path("crl.toml"), HOSTILE.encode())
    record = Path(os.environ["XDG_DATA_HOME"]) / "crl-stream" / "trusted.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert [entry["path"] for entry in json.loads(record.read_bytes())["trusted"]] == [str(Path("crl.toml").resolve())]
    assert trust.revoke(Path("crl.toml")) and not trust.revoke(Path("crl.toml"))
    assert found().untrusted is not None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"trusted": 3}', '{"trusted": [{"path": 1}]}'])
def test_a_record_that_cannot_be_read_trusts_nothing(content: str) -> None:
    found()
    trust.trust(Path("crl.toml"), HOSTILE.encode())
    record = Path(os.environ["XDG_DATA_HOME"]) / "crl-stream" / "trusted.json"
    record.write_text(content, encoding="utf-8")
    assert found().untrusted is not None


def test_a_record_that_others_can_write_trusts_nothing() -> None:
    found()
    trust.trust(Path("crl.toml"), HOSTILE.encode())
    (Path(os.environ["XDG_DATA_HOME"]) / "crl-stream" / "trusted.json").chmod(0o666)
    assert found().untrusted is not None
