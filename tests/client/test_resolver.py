"""Which variant a runtime gets, whatever happens to Kafka."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from client.silent_kafka import an_active_variant, use_silent_kafka
from client.waiting import eventually
from crl_stream.client import background, following, keeping, resolver
from crl_stream.client.keeping import keep, kept_file, read_kept
from crl_stream.client.resolver import Resolver
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import ACTIVE_VARIANTS, VARIANTS

ACTIVE = an_active_variant()
WHO = (ACTIVE.agent_name, ACTIVE.task_type)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(background, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(background, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.05)


def source(followed: Resolver) -> str | None:
    found = followed.resolve(*WHO)
    return None if found is None else found.source


def variant(followed: Resolver) -> str | None:
    found = followed.resolve(*WHO)
    return None if found is None else found.variant_id


def test_a_variant_is_stale_while_no_broker_answers_and_is_read_again_when_one_does(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = use_silent_kafka(monkeypatch, ACTIVE)
    monkeypatch.setattr(resolver, "STALE_SECONDS", 0.2)
    with Resolver(settings, exploration=0.0) as followed:
        assert eventually(lambda: source(followed) == "live")
        assert followed.following_since is not None
        monkeypatch.setattr(kafka, "answers", False)
        connections = kafka.connections
        assert eventually(lambda: source(followed) == "stale")
        assert eventually(lambda: kafka.connections > connections)
        assert source(followed) == "stale", "the known variant is still used"
        assert followed.following_since is None
        monkeypatch.setattr(kafka, "answers", True)
        assert eventually(lambda: source(followed) == "live")
        # Problems counted during the outage are logged only when it is over.
        assert [record.levelname for record in caplog.records if "does not answer" in record.message] == ["WARNING"]


@pytest.mark.parametrize("known", ["nothing", "a file", "the log"])
def test_what_is_said_to_be_used_without_kafka_is_what_is_known(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, caplog: pytest.LogCaptureFixture, known: str
) -> None:
    kafka = use_silent_kafka(monkeypatch, ACTIVE)
    if known == "a file":
        assert keep(settings, {ACTIVE_VARIANTS: [ACTIVE], VARIANTS: []}) is None
    monkeypatch.setattr(kafka, "answers", known == "the log")
    monkeypatch.setattr(resolver, "STALE_SECONDS", 0.2)
    with Resolver(settings, exploration=0.0) as followed:
        if known == "the log":
            assert followed.wait_until_ready(20.0)
            monkeypatch.setattr(kafka, "answers", False)
        assert eventually(lambda: any("answer" in record.message for record in caplog.records))
        assert (source(followed) is None) is (known == "nothing")
    said = [record.message for record in caplog.records if "answer" in record.message]
    words = {
        "nothing": "no variant is known yet, so each call gets its own default",
        "a file": f"the variants of 1 task that an earlier run kept in {kept_file(settings)} are used",
        "the log": "the last known variants of 1 task are used",
    }
    assert all(words[known] in line for line in said), said


def test_a_topic_that_was_made_again_is_read_from_its_beginning_whatever_its_epochs(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    kafka = use_silent_kafka(monkeypatch, ACTIVE, ACTIVE)
    with Resolver(settings, exploration=0.0) as followed:
        assert followed.wait_until_ready(20.0)
        monkeypatch.setattr(kafka, "records", [encode(an_active_variant(variant_id="of-the-new-topic", epoch=1))])
        assert eventually(lambda: variant(followed) == "of-the-new-topic")


def test_a_topic_that_was_made_again_is_noticed_also_when_it_is_as_long_as_the_one_before(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    kafka = use_silent_kafka(monkeypatch, ACTIVE)
    with Resolver(settings, exploration=0.0) as followed:
        assert followed.wait_until_ready(20.0)
        monkeypatch.setattr(kafka, "records", [encode(an_active_variant(variant_id="of-the-new-topic", epoch=1))])
        monkeypatch.setattr(kafka, "first", 2)
        assert eventually(lambda: variant(followed) == "of-the-new-topic")


@pytest.mark.parametrize("topics", [{}, {"other": [0]}, {ACTIVE_VARIANTS: [0, 1], VARIANTS: [0, 1]}])
def test_topics_that_are_deleted_or_get_partitions_are_noticed_and_found_again(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, topics: dict[str, list[int]]
) -> None:
    kafka = use_silent_kafka(monkeypatch, ACTIVE)
    with Resolver(settings, exploration=0.0) as followed:
        assert followed.wait_until_ready(20.0)
        connections = kafka.connections
        monkeypatch.setattr(kafka, "topics", topics)
        assert eventually(lambda: kafka.connections > connections)
        assert variant(followed) == ACTIVE.variant_id
        monkeypatch.setattr(kafka, "topics", None)
        monkeypatch.setattr(kafka, "records", [encode(an_active_variant(variant_id="later", epoch=99))])
        assert eventually(lambda: variant(followed) == "later")


def test_what_a_transaction_hides_that_was_left_open_is_said_once_and_what_goes_on_is_not(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = use_silent_kafka(monkeypatch, ACTIVE)
    with Resolver(settings, exploration=0.0) as followed:
        assert followed.wait_until_ready(20.0)
        assert "a transaction" not in caplog.text
        monkeypatch.setattr(kafka, "hidden", 2)
        assert eventually(lambda: "an open transaction hides" in caplog.text)
    assert f"{ACTIVE_VARIANTS} partition 0 from offset 1 on" in caplog.text


def test_tasks_that_a_topic_made_again_knows_no_more_are_said(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = use_silent_kafka(monkeypatch, ACTIVE)
    with Resolver(settings, exploration=0.0) as followed:
        assert followed.wait_until_ready(20.0)
        monkeypatch.setattr(kafka, "records", [])
        assert eventually(lambda: variant(followed) is None)
        assert "no longer knows the active variant of 1 task (backend-architect/api-design)" in caplog.text
        monkeypatch.setattr(kafka, "records", [encode(ACTIVE)])
        assert eventually(lambda: variant(followed) == ACTIVE.variant_id)


def test_a_listener_that_raises_anything_ends_nothing(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    kafka = use_silent_kafka(monkeypatch)
    heard = []
    with Resolver(settings, exploration=0.0) as followed:
        followed.on_change(lambda _: exec("raise SystemExit(1)"))  # noqa: S102 - a lambda cannot raise
        followed.on_change(heard.append)
        assert followed.wait_until_ready(20.0)
        monkeypatch.setattr(kafka, "records", [encode(ACTIVE)])
        assert eventually(lambda: heard)


def test_listeners_hear_of_new_catalogues_and_of_each_change_of_the_state(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    kafka = use_silent_kafka(monkeypatch)
    monkeypatch.setattr(resolver, "STALE_SECONDS", 0.2)
    catalogue = m.VariantCatalogue(
        agent_name=WHO[0],
        task_type=WHO[1],
        timestamp="2026-01-01T00:00:00Z",
        variants=[],
        incarnation=1,
        position=ACTIVE.position,
    )
    states: list[str] = []
    heard: list[Any] = []
    with Resolver(settings, exploration=0.0) as followed:
        followed.on_state(states.append)
        followed.on_catalogue(heard.append)
        assert followed.wait_until_ready(20.0)
        assert followed.state == "live"
        followed.show(following.View({TaskKey(*WHO): ACTIVE}, {TaskKey(*WHO): catalogue}))
        assert heard == [catalogue] == [followed.catalogue(*WHO)]
        assert followed.active_variant(*WHO) == ACTIVE
        monkeypatch.setattr(kafka, "answers", False)
        assert eventually(lambda: states[-1:] == ["stale"])
        monkeypatch.setattr(kafka, "answers", True)
        assert eventually(lambda: states[-2:] == ["stale", "live"])


@pytest.mark.parametrize("name", [None, 7, ["list"], {"a": 1}, b"bytes", "\ud800"])
def test_no_name_of_a_task_raises_into_the_agent(settings: Settings, name: Any) -> None:
    with Resolver(settings) as followed:
        found = followed.resolve(name, name, "v1")
        assert found is not None
        assert (found.variant_id, found.source) == ("v1", "default")


# -- the kept file -----------------------------------------------------------------------------------
def keep_for(settings: Settings, cluster_id: str | None, **fields: Any) -> None:
    assert keep(settings, {ACTIVE_VARIANTS: [an_active_variant(**fields)], VARIANTS: []}, cluster_id) is None


def test_what_was_kept_of_another_cluster_is_put_away_as_soon_as_the_cluster_is_known(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    kafka = use_silent_kafka(monkeypatch)
    monkeypatch.setattr(kafka, "topics", {})  # the cluster answers, but has no topics yet
    monkeypatch.setattr(kafka, "answers", False)
    keep_for(settings, "another")
    with Resolver(settings, exploration=0.0) as followed:
        assert source(followed) == "file"
        monkeypatch.setattr(kafka, "answers", True)
        assert eventually(lambda: source(followed) is None)


def test_what_was_kept_of_this_cluster_is_used_until_its_topics_are_read(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    kafka = use_silent_kafka(monkeypatch)
    monkeypatch.setattr(kafka, "topics", {})
    keep_for(settings, "one")
    with Resolver(settings, exploration=0.0) as followed:
        assert eventually(lambda: kafka.connections)
        assert not followed.wait_until_ready(0.2)
        assert source(followed) == "file"


def test_the_file_of_a_resolver_names_its_cluster_and_prefix(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    use_silent_kafka(monkeypatch, ACTIVE)
    with Resolver(settings) as followed:
        assert followed.wait_until_ready(20.0)
    kept = read_kept(settings, [ACTIVE_VARIANTS, VARIANTS])
    assert (kept.cluster_id, [topic for topic, _ in kept.messages]) == ("one", [ACTIVE_VARIANTS])


def settings_of(folder: Path, **flags: str) -> Settings:
    told = {"client.cache_dir": str(folder)} | {name.replace("__", "."): value for name, value in flags.items()}
    return load_settings(environment={}, flags=told)


def test_two_embedded_brokers_two_addresses_and_two_prefixes_never_share_a_file(tmp_path: Path) -> None:
    files = [
        kept_file(settings_of(tmp_path, **flags))
        for flags in (
            {"broker__data_dir": str(tmp_path / "one")},
            {"broker__data_dir": str(tmp_path / "two")},
            {"broker__data_dir": str(tmp_path / "one"), "kafka__topic_prefix": "a."},
            {"kafka__bootstrap_servers": "kafka-1:9092"},
            {"kafka__bootstrap_servers": "kafka-2:9092"},
        )
    ]
    assert len(set(files)) == len(files)
    again = settings_of(tmp_path, broker__data_dir=str(tmp_path / "x" / ".." / "one"))
    assert kept_file(again) == files[0], "the same data folder, written as a different path"
    order = [settings_of(tmp_path, kafka__bootstrap_servers=servers) for servers in ("a:1,b:2", "b:2, a:1")]
    assert kept_file(order[0]) == kept_file(order[1])


@pytest.mark.parametrize(
    "page", [b"", b"[]", b"{}", b"\xff", b'{"crl.active-variants":[{}]}', b'{"crl.active-variants":7}', b"[" * 100_000]
)
def test_a_file_that_cannot_be_read_is_as_good_as_none(settings: Settings, page: bytes) -> None:
    kept_file(settings).write_bytes(page)
    with Resolver(settings) as followed:
        assert source(followed) is None


def test_a_file_that_another_user_may_have_written_is_not_used(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_for(settings, "one")
    monkeypatch.setattr("os.geteuid", lambda: 54_321)
    kept_file(settings).touch()
    expected = [] if kept_file(settings).stat().st_uid not in {0, 54_321} else [ACTIVE_VARIANTS]
    assert [topic for topic, _ in read_kept(settings, [ACTIVE_VARIANTS, VARIANTS]).messages] == expected


def test_a_disk_that_takes_no_file_is_said_once_and_closing_does_not_wait_for_one_that_stands_still(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    use_silent_kafka(monkeypatch, ACTIVE)
    monkeypatch.setattr(keeping, "keep", lambda *_: "it is full")
    with Resolver(settings) as followed:
        assert followed.wait_until_ready(20.0)
    assert [record.message for record in caplog.records if "it is full" in record.message].__len__() == 1
    stands = threading.Event()
    monkeypatch.setattr(keeping, "keep", lambda *_: stands.wait(60.0) and None)
    followed = Resolver(settings)
    assert followed.wait_until_ready(20.0)
    try:
        closing = threading.Thread(target=followed.close, args=(0.5,))
        closing.start()
        closing.join(10.0)
        assert not closing.is_alive()
    finally:
        stands.set()
