"""Kafka's jars: a download is kept only if its bytes match the pinned hash, whatever the network delivers."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crl_stream.broker import jars
from crl_stream.broker.ports import free_port
from crl_stream.errors import BrokerError


class Repository(http.server.BaseHTTPRequestHandler):
    """A Maven repository that serves the same wrong bytes for every jar, with the correct hash of those bytes."""

    content = b"not the jar that was asked for"

    def do_GET(self) -> None:
        body = self.content
        if self.path.endswith(".sha1"):
            body = hashlib.sha1(self.content, usedforsecurity=False).hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv(jars.MIRROR, f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield
        server.shutdown()
        thread.join()


def found_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.jar"))


def test_every_jar_is_pinned_by_its_hash_and_named_once() -> None:
    pins = jars.read_pins()
    assert all(re.fullmatch("[0-9a-f]{64}", pin.sha256) for pin in pins)
    assert len({pin.file_name for pin in pins}) == len(pins) >= 40
    assert pins[0].artifact == "kafka_2.13"
    assert pins[0].version == jars.KAFKA_VERSION


def test_other_bytes_than_the_pinned_ones_are_refused_and_leave_nothing_behind(mirror: None, tmp_path: Path) -> None:
    with pytest.raises(BrokerError) as refused:
        jars.fetch(tmp_path)
    assert "differs from the one" in refused.value.message
    assert jars.MIRROR in (refused.value.hint or "")
    assert found_in(tmp_path) == []


def test_what_an_interrupted_download_left_is_no_jar(mirror: None, tmp_path: Path) -> None:
    partial = tmp_path / f"kafka-{jars.KAFKA_VERSION}" / ".incoming" / "kafka_2.13" / "half.jar"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half")
    with pytest.raises(BrokerError):
        jars.fetch(tmp_path)
    assert found_in(tmp_path) == []


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(jars.MIRROR, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(BrokerError) as refused:
        jars.fetch(tmp_path)
    assert "cannot be downloaded" in refused.value.message
    assert "CRL_BOOTSTRAP_SERVERS" in (refused.value.hint or "")


def test_a_cache_that_is_complete_asks_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(jars.MIRROR, f"http://127.0.0.1:{free_port()}")
    folder = tmp_path / f"kafka-{jars.KAFKA_VERSION}"
    folder.mkdir()
    for pin in jars.read_pins():
        (folder / pin.file_name).write_bytes(b"")
    assert [path.name for path in jars.fetch(tmp_path)] == [pin.file_name for pin in jars.read_pins()]


def test_a_cache_that_cannot_be_written_says_which_folder_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BrokerError) as refused:
        jars.fetch(tmp_path / "file")
    assert str(tmp_path / "file") in refused.value.message
    assert "CRL_CLIENT_CACHE_DIR" in (refused.value.hint or "")


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "PIP_CERT"])
def test_an_authority_that_openssl_or_pip_is_told_of_is_trusted_for_the_download_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT"):
        monkeypatch.delenv(other, raising=False)
    bundle = tmp_path / "authority.pem"
    bundle.write_text("", encoding="utf-8")
    monkeypatch.setenv(name, str(bundle))
    monkeypatch.setenv(jars.MIRROR, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    with pytest.raises(BrokerError):
        jars.fetch(tmp_path / "cache")
    assert os.environ["REQUESTS_CA_BUNDLE"] == str(bundle)


def test_without_what_fetches_them_it_is_said_that_this_installation_has_no_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container image has no download packages, because it runs beside an existing Kafka."""
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(BrokerError, match="cannot be used: the package jgo") as caught:
        jars.fetch(tmp_path)
    assert "CRL_BOOTSTRAP_SERVERS" in str(caught.value.hint)
