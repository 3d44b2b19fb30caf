"""How a runtime finds the address of its Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from crl_stream.broker import EmbeddedBroker
from crl_stream.broker.process import Endpoint
from crl_stream.client.address import kafka_of
from crl_stream.settings import Settings, load_settings


def settings_of(folder: Path, **flags: str) -> Settings:
    told = {"broker.data_dir": str(folder), "client.cache_dir": str(folder)}
    return load_settings(environment={}, flags=told | {name.replace("__", "."): value for name, value in flags.items()})


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The running brokers by data folder, in place of ``EmbeddedBroker.status``."""
    there: dict[str, Any] = {}
    monkeypatch.setattr(EmbeddedBroker, "status", lambda broker: there.get(str(broker.data_dir)))
    return there


def test_an_address_that_is_named_is_used_whatever_runs_here(tmp_path: Path, embedded: dict[str, Any]) -> None:
    embedded[str(tmp_path)] = Endpoint("127.0.0.1:9092", 1, str(tmp_path), "")
    assert kafka_of(settings_of(tmp_path, kafka__bootstrap_servers="kafka-1:9092")).bootstrap_servers == "kafka-1:9092"


def test_without_an_address_it_is_the_embedded_broker_of_this_machine_wherever_it_listens_now(
    tmp_path: Path, embedded: dict[str, Any]
) -> None:
    settings = settings_of(tmp_path, kafka__topic_prefix="mine.")
    with pytest.raises(KafkaConnectionError, match="CRL_BOOTSTRAP_SERVERS"):
        kafka_of(settings)
    for port in (9092, 41000):
        embedded[str(tmp_path)] = Endpoint(f"127.0.0.1:{port}", 1, str(tmp_path), "")
        found = kafka_of(settings)
        assert (found.bootstrap_servers, found.topic_prefix) == (f"127.0.0.1:{port}", "mine.")


def test_a_folder_in_which_no_broker_ever_ran_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KafkaConnectionError):
        kafka_of(settings_of(tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []
