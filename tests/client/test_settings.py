"""A client reads the environment and a file named by the user; no other settings can redirect it or make it fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from source_tree import environment_of_this_checkout

from crl_stream.client import Client, Publisher, Resolver
from crl_stream.errors import ConfigError
from crl_stream.settings import load_client_settings, user_folders

TRAP = '[kafka]\nbootstrap_servers = "evil:9092"\nsecurity_protocol = "SASL_PLAINTEXT"\nsasl_mechanism = "PLAIN"\n'


def test_a_file_of_the_current_folder_redirects_no_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crl.toml").write_text(TRAP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRL_CLIENT_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CRL_KAFKA_SASL_PASSWORD", "secret")
    trap = load_client_settings(file=tmp_path / "crl.toml").settings
    assert trap.kafka.bootstrap_servers == "evil:9092", "a client that reads the file is redirected"
    for made in (Client(), Publisher(), Resolver()):
        settings = made.publisher.settings if isinstance(made, Client) else made.settings
        made.close(0.0)
        assert (settings.kafka.bootstrap_servers, settings.kafka.security_protocol) == ("", "PLAINTEXT")


def test_a_file_that_is_named_is_read_and_lies_under_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TRAP + '[client]\nruntime_id = "of-the-file"\n', encoding="utf-8")
    for arguments in ({"file": file, "environment": {}}, {"environment": {"CRL_CONFIG": str(file)}}):
        found = load_client_settings(**arguments).settings  # type: ignore[arg-type]
        assert (found.kafka.bootstrap_servers, found.client.runtime_id) == ("evil:9092", "of-the-file")
    over = load_client_settings(
        file=file, environment={"CRL_BOOTSTRAP_SERVERS": "good:1"}, flags={"client.runtime_id": "f"}
    )
    assert (over.settings.kafka.bootstrap_servers, over.settings.client.runtime_id) == ("good:1", "f")


@pytest.mark.parametrize(
    "page",
    [
        "[worker]\nweb_port = 'none'\n",
        "[notifiers.pager]\nkind = 'webhook'\n",
        "[degradation]\nlookback_window = -1\n",
        "profile = 'unheard-of'\n",
        "[nonsense]\na = 1\n",
        "nonsense = 7\n",
        "[review]\nschedule = 'never'\n",
    ],
)
def test_what_concerns_others_does_not_concern_a_client(tmp_path: Path, page: str) -> None:
    file = tmp_path / "crl.toml"
    file.write_text(page + "[kafka]\nbootstrap_servers = 'here:1'\n", encoding="utf-8")
    found = load_client_settings(file=file, environment={}, strict=True)
    assert (found.settings.kafka.bootstrap_servers, found.without_kafka, found.notes) == ("here:1", "", ())


@pytest.mark.parametrize("variable", ["CRL_WORKER_WEB_PORT", "CRL_PROFILE", "CRL_DEGRADATION_SUCCESS_DROP"])
def test_a_bad_setting_of_others_in_the_environment_neither(variable: str) -> None:
    found = load_client_settings(environment={variable: "nonsense"}, strict=True)
    assert (found.without_kafka, found.notes) == ("", ())


def test_variables_that_are_no_settings_are_one_note_with_the_nearest_name() -> None:
    found = load_client_settings(environment={"CRL_BOOTSTRAP_SERVER": "a:1", "CRL_X": "1"}, strict=True)
    [note] = found.notes
    assert "CRL_BOOTSTRAP_SERVER (the nearest name is CRL_BOOTSTRAP_SERVERS)" in note
    assert "CRL_X" in note
    assert "\n" not in note


BAD = [
    {"CRL_KAFKA_SECURITY_PROTOCOL": "TELEPATHY"},
    {"CRL_KAFKA_TOPIC_PREFIX": "no spaces"},
    {"CRL_KAFKA_PARTITIONS": "many"},
    {"CRL_CONFIG": "/nowhere/crl.toml"},
]


@pytest.mark.parametrize("environment", BAD, ids=min)
def test_where_kafka_is_cannot_be_read_so_the_client_answers_with_defaults_and_connects_nowhere(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in (environment | {"CRL_CLIENT_CACHE_DIR": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    with Client() as crl:
        with crl.invocation("agent", "task", default="v1") as inv:
            assert (inv.variant_id, inv.source) == ("v1", "default")
        health = crl.health()
        assert (health.dropped, health.connected) == (1, False)
        assert crl.publisher._background is None
        assert crl.resolver._background is None
    assert sum("sends nothing" in record.message for record in caplog.records) == 1
    for kind in (Client, Publisher, Resolver):
        with pytest.raises(ConfigError):
            kind(strict=True)


def test_a_bad_file_is_said_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "crl.toml"
    for page in (b"\xff\xfe", b"[kafka", b"kafka = 7"):
        file.write_bytes(page)
        found = load_client_settings(file=file, environment={})
        assert found.without_kafka
        assert "\n" not in found.without_kafka
    file.write_text("[kafka]\nbootstrap_server = 'a:1'\n", encoding="utf-8")
    assert (
        "the nearest name is kafka.bootstrap_servers" in load_client_settings(file=file, environment={}).without_kafka
    )


def test_a_bad_setting_of_the_client_itself_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_client_settings(environment={"CRL_CLIENT_CLOSE_SECONDS": "soon", "CRL_BOOTSTRAP_SERVERS": "here:1"})
    assert (found.settings.client.close_seconds, found.settings.kafka.bootstrap_servers) == (2.0, "here:1")
    assert (found.without_kafka, len(found.notes)) == ("", 1)


def test_a_password_is_not_in_what_is_shown() -> None:
    found = load_client_settings(environment={"CRL_KAFKA_SASL_PASSWORD": "hunter2"})
    assert "hunter2" not in repr(found)
    assert found.settings.kafka.sasl_password.get_secret_value() == "hunter2"


# -- no home -----------------------------------------------------------------------------------------
def without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(user_folders, "home_folder", lambda: None)
    monkeypatch.setattr(user_folders, "stand_in", lambda: tmp_path / "instead")
    monkeypatch.setattr(user_folders, "_said", [])
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_home_a_client_works_and_says_once_where_it_keeps_what_it_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without_a_home(monkeypatch, tmp_path)
    monkeypatch.setenv("CRL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    for _ in range(2):
        with Client(strict=True) as crl, crl.invocation("agent", "task", default="v1") as inv:
            assert inv.variant_id == "v1"
        assert crl.publisher.settings.client.cache_dir == tmp_path / "instead" / "cache"
    [said] = [record.message for record in caplog.records if "no home folder" in record.message]
    assert str(tmp_path / "instead") in said


@pytest.mark.parametrize("named", ["CRL_CLIENT_CACHE_DIR", "XDG_CACHE_HOME"])
def test_a_folder_that_is_named_is_used_without_a_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str
) -> None:
    without_a_home(monkeypatch, tmp_path)
    monkeypatch.setenv(named, str(tmp_path))
    with Client() as crl:
        assert crl.publisher.settings.client.cache_dir.is_relative_to(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces and setpriv exist only on Linux")
def test_an_unknown_user_id_without_home_on_a_disk_that_is_read_only_works(tmp_path: Path) -> None:
    program = """
import json
from crl_stream.client import Client
with Client() as crl:
    with crl.invocation("a", "t", default="v1") as inv:
        pass
print(json.dumps([inv.variant_id, crl.health().queued + crl.health().dropped]))
"""
    environment = environment_of_this_checkout() | {"CRL_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        environment.pop(name, None)
    command: list[Any] = [sys.executable, "-c", program]
    alone = ["unshare", "--user", "--map-user=54321"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine has no user namespaces")
    done = subprocess.run([*alone, *command], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["v1", 1]
    assert "Traceback" not in done.stderr
