"""A value that a client corrects or cannot use gets one log line; it never raises into the agent."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from crl_stream.client import Client, Publisher, Resolver
from crl_stream.client.keeping import kept_file, read_kept, why_unusable
from crl_stream.errors import ConfigError
from crl_stream.settings import Settings, load_client_settings
from crl_stream.wire.topics import ACTIVE_VARIANTS, VARIANTS


def lines(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("openai/gpt-4o on host 7", "openai-gpt-4o-on-host-7"),
        ("r" * 200, "r" * 128),
        ("worker\x1b[2J\n1", "worker-2J-1"),
        ("\u5de5\u4eba", "unnamed"),
        (4711.5, None),
    ],
)
def test_a_runtime_id_that_is_corrected_is_said_once_with_both_names(
    settings: Settings, caplog: pytest.LogCaptureFixture, given: Any, used: str | None
) -> None:
    with Client(settings, runtime_id=given) as crl:
        assert crl.publisher.runtime_id == used or used is None
    said = lines(caplog, "is not an identifier")
    if used is None:
        assert said == [], "a number is a good name"
    else:
        assert len(said) == 1
        assert repr(used) in said[0]
        assert said[0].isprintable()


@pytest.mark.parametrize("kind", [Client, Publisher])
def test_where_it_is_strict_a_bad_runtime_id_is_an_error_with_the_name_to_write(settings: Settings, kind: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        kind(settings, runtime_id="a b", strict=True)
    assert "'a-b'" in (refused.value.hint or "")


def test_a_runtime_id_of_the_environment_is_held_to_the_same_rule(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CRL_CLIENT_RUNTIME_ID", "a b")
    monkeypatch.setenv("CRL_CLIENT_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CRL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with Publisher() as publisher:
        assert publisher.runtime_id == "a-b"
    assert len(lines(caplog, "runtime_id 'a b'")) == 1


def test_a_good_name_is_no_trouble(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with Client(settings, runtime_id="worker-7.eu:1"):
        pass
    assert lines(caplog, "runtime_id") == []


def places(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "file").write_text("here", encoding="utf-8")
    (tmp_path / "dangling").symlink_to(tmp_path / "loop")
    (tmp_path / "loop").symlink_to(tmp_path / "dangling")
    return {
        "a file": str(tmp_path / "file"),
        "below a file": str(tmp_path / "file" / "cache"),
        "a loop of links": str(tmp_path / "loop" / "cache"),
        "no name at all": "a\0b",
        "a device": "/dev/null/cache",
    }


@pytest.mark.parametrize("place", ["a file", "below a file", "a loop of links", "no name at all", "a device"])
def test_a_folder_that_cannot_be_used_is_said_at_once_though_kafka_never_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    flags = {"kafka.bootstrap_servers": "127.0.0.1:1", "client.cache_dir": places(tmp_path)[place]}
    settings = load_client_settings(environment={}, flags=flags).settings
    assert why_unusable(settings)
    with Resolver(settings) as resolver:
        assert resolver.resolve("agent", "task", "v1") is not None
    [said] = lines(caplog, "active variants are not kept")
    assert "client.cache_dir names the folder" in said
    assert said.isprintable()


def test_a_folder_that_can_be_made_is_no_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    flags = {"kafka.bootstrap_servers": "127.0.0.1:1", "client.cache_dir": str(tmp_path / "a" / "b")}
    with caplog.at_level(logging.WARNING), Resolver(load_client_settings(environment={}, flags=flags).settings):
        pass
    assert lines(caplog, "not kept") == []
    assert not (tmp_path / "a").exists(), "the check writes nothing"


@pytest.mark.parametrize("page", [b"{", b"[]", b'{"crl.active-variants": 7}', b"\xff\xfe", b"{}"])
def test_a_kept_file_that_cannot_be_read_is_said(
    settings: Settings, caplog: pytest.LogCaptureFixture, page: bytes
) -> None:
    kept_file(settings).write_bytes(page)
    assert read_kept(settings, [ACTIVE_VARIANTS, VARIANTS]).wrong
    with Resolver(settings):
        pass
    [said] = lines(caplog, "variants kept by an earlier run are not used")
    assert said.isprintable()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_kept_file_of_another_user_is_not_used_and_that_is_said(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    kept_file(settings).write_bytes(b"{}")
    os.chown(kept_file(settings), 54_321, -1)
    with Resolver(settings):
        pass
    assert len(lines(caplog, "belongs to another user")) == 1


def test_a_file_that_is_not_there_yet_is_no_trouble(settings: Settings) -> None:
    assert read_kept(settings, [ACTIVE_VARIANTS, VARIANTS]) == (None, (), None)
