"""What the provider guarantees; ``tests/joins/test_openfeature.py`` runs this file with the packages of OpenFeature."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client.silent_kafka import SilentKafka, an_active_variant, use_silent_kafka
from client.waiting import eventually
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderFatalError
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus
from openfeature.track import TrackingEventDetails

from crl_stream.client import Client, background, following, resolver
from crl_stream.client.following import View
from crl_stream.client.keeping import keep
from crl_stream.client.publisher import Publisher
from crl_stream.client.resolver import Resolution
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.openfeature import CrlProvider, outcome_of, tracked
from crl_stream.openfeature import provider as module
from crl_stream.openfeature.evaluations import Evaluation, Evaluations
from crl_stream.settings import Settings, load_settings
from crl_stream.wire.codec import encode
from crl_stream.wire.topics import ACTIVE_VARIANTS, VARIANTS

KEY = TaskKey("refund-agent", "answer")
NAME = str(KEY)
CONTEXT = EvaluationContext("session-1")
DEFAULTS = {"temperature": 0.5}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(background, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(background, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.05)
    yield
    api.shutdown()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    flags = {"kafka.bootstrap_servers": "127.0.0.1:1", "client.cache_dir": str(tmp_path)}
    return load_settings(environment={}, flags=flags)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect what is published."""
    found: list[Any] = []
    monkeypatch.setattr(Publisher, "publish", lambda _, message: found.append(message) or True)
    return found


def an_active(variant_id: str = "v1", epoch: int = 1, **fields: Any) -> m.ActiveVariant:
    given = {"weights": None, "rollout": None, "quarantined": [], "cause": "command", "exploration": 0.0}
    who = {"agent_name": KEY.agent_name, "task_type": KEY.task_type}
    return an_active_variant(**who, variant_id=variant_id, epoch=epoch, **(given | fields))


def a_catalogue(**configurations: Any) -> m.VariantCatalogue:
    """Return a catalogue; a text instead of a configuration is a ref."""
    variants = [
        m.RegisteredVariant(
            variant_id=name,
            state="registered",
            quarantined=False,
            configuration=found if isinstance(found, dict) else None,
            ref=found if isinstance(found, str) else None,
        )
        for name, found in configurations.items()
    ]
    position, at = m.Position(partition=0, offset=1), "2026-01-01T00:00:00Z"
    return m.VariantCatalogue(
        agent_name=KEY.agent_name,
        task_type=KEY.task_type,
        timestamp=at,
        variants=variants,
        incarnation=1,
        position=position,
    )


def knows(settings: Settings, active: m.ActiveVariant | None, **configurations: Any) -> CrlProvider:
    """Set a provider whose resolver has read these records."""
    provider = CrlProvider(settings, wait_seconds=0.0)
    api.set_provider_and_wait(provider)
    assert provider.client is not None
    view = View({} if active is None else {KEY: active}, {KEY: a_catalogue(**configurations)})
    provider.client.resolver.show(view)
    return provider


def evaluate(context: EvaluationContext = CONTEXT) -> Any:
    return api.get_client().get_object_details(NAME, DEFAULTS, context)


def track(value: float | None = None, context: EvaluationContext | None = CONTEXT, **attributes: Any) -> None:
    api.get_client().track(NAME, context, TrackingEventDetails(value, attributes))


# -- the laws of the client ------------------------------------------------------------------------
def test_without_kafka_setting_the_provider_neither_waits_nor_raises_and_the_status_becomes_error(
    settings: Settings,
) -> None:
    began = time.monotonic()
    api.set_provider_and_wait(CrlProvider(settings))
    assert time.monotonic() - began < 0.5
    details = evaluate()
    assert (details.value, details.error_code) == (DEFAULTS, ErrorCode.PROVIDER_NOT_READY)
    assert eventually(lambda: api.get_client().get_provider_status() is ProviderStatus.ERROR)


def test_bad_settings_are_fatal_but_raise_only_if_strict(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('[kafka]\nsecurity_protocol = "rubbish"\n')
    api.set_provider_and_wait(CrlProvider(file=bad))
    assert evaluate().error_code is ErrorCode.PROVIDER_FATAL
    assert eventually(lambda: api.get_client().get_provider_status() is ProviderStatus.FATAL)
    assert (evaluate().value, evaluate().error_code) == (DEFAULTS, ErrorCode.PROVIDER_FATAL)
    track(0.5)
    assert any("is not published" in record.message for record in caplog.records)
    with pytest.raises(ProviderFatalError):
        api.set_provider_and_wait(CrlProvider(file=bad, strict=True), "strict")


def test_the_settings_are_read_once_and_what_is_wrong_in_them_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file, reads = tmp_path / "crl.toml", list[Path]()
    file.write_text(
        f'[kafka]\nbootstrap_servers = "127.0.0.1:1"\n[client]\ncache_dir = "{tmp_path}"\nclose_seconds = 900\n'
    )
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **named: reads.append(path) or read(path, **named))
    provider = CrlProvider(file=file, wait_seconds=0.0)
    provider.initialize(EvaluationContext())
    assert reads.count(file) == 1
    assert len([one for one in caplog.records if "close_seconds" in one.message]) == 1
    provider.shutdown()


@pytest.mark.parametrize("key", ["", "/", "a", "a/", "a//", "a b/c", "a/t/", "é/t", 7, None])
def test_no_key_raises(settings: Settings, key: Any) -> None:
    provider = knows(settings, an_active(), v1={"t": 1})
    found = provider.resolve_object_details(flag_key=key, default_value=DEFAULTS)
    assert found.value == DEFAULTS and found.error_code is not None


@pytest.mark.parametrize("context", [None, EvaluationContext(), EvaluationContext(7), EvaluationContext("x", None), 7])  # type: ignore[arg-type]
def test_no_context_raises(settings: Settings, context: Any) -> None:
    provider = knows(settings, an_active(weights={"v1": 500, "v2": 500}), v1={"t": 1}, v2={"t": 2})
    provider.resolve_object_details(flag_key=NAME, default_value=DEFAULTS, evaluation_context=context)
    provider.track(NAME, context, TrackingEventDetails(0.5))


@pytest.mark.parametrize(
    "attributes",
    [
        {"status": 7},
        {"quality": "good"},
        {"metrics": 3},
        {"variant_id": None},
        {"variant_id": "a b"},
        {"epoch": "x"},
        7,
    ],
)
def test_no_tracking_event_raises_and_one_that_cannot_be_published_is_counted(
    settings: Settings, attributes: Any
) -> None:
    provider = knows(settings, an_active(), v1={"t": 1})
    evaluate()
    assert provider.client is not None
    provider.track(NAME, CONTEXT, TrackingEventDetails("x", attributes))  # type: ignore[arg-type]
    stats = provider.client.publisher.stats
    assert stats.rejected + stats.queued + stats.dropped == 1


def test_every_problem_is_counted_and_shown_by_the_clients_health(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    provider = CrlProvider(settings, wait_seconds=0.0)
    for _ in range(3):
        provider.track(NAME, CONTEXT, TrackingEventDetails(0.5))
    said = "an outcome of refund-agent/answer is not published: the provider is not initialized"
    assert [one.message for one in caplog.records] == [said]
    provider.shutdown()
    assert caplog.records[-1].message.startswith(f"{said} (2 times within ")
    provider = knows(settings, an_active("v9"), v9=None)
    evaluate()
    assert provider.client is not None
    assert "no configuration is registered for the variant v9" in provider.client.health().trouble


def test_of_many_tasks_in_one_thread_those_evaluated_last_are_remembered() -> None:
    found = Evaluations()
    keys = [TaskKey("agent", f"task-{number}") for number in range(65)]
    for key in (*keys[:64], keys[0], keys[64]):
        found.add(key, Evaluation(Resolution("v1", 1, "live", None), f"of-{key}", None))
    assert found.of(keys[0], None) is not None
    assert found.of(keys[1], None) is None


def test_a_forked_child_evaluates_and_tracks_for_itself(settings: Settings, sent: list[Any]) -> None:
    provider = knows(settings, an_active(), v1={"t": 1})
    evaluate()
    assert provider.client is not None
    parent = provider.client.publisher.runtime_id
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            details = evaluate()
            track(0.5)
            os.write(writing, f"{details.variant} {len(sent)} {provider.client.publisher.runtime_id}".encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    variant, count, runtime = os.read(reading, 1_000).decode().split()
    assert (variant, count) == ("v1", "1") and runtime != parent


def test_after_a_shutdown_the_provider_is_not_ready_and_may_be_set_again(settings: Settings) -> None:
    provider = knows(settings, an_active(), v1={"t": 1})
    assert evaluate().value == {"t": 1}
    provider.shutdown()
    provider.shutdown()
    assert provider.resolve_object_details(NAME, DEFAULTS).error_code is ErrorCode.PROVIDER_NOT_READY
    provider.initialize(EvaluationContext())
    assert provider.client is not None
    provider.client.resolver.show(View({KEY: an_active()}, {KEY: a_catalogue(v1={"t": 1})}))
    assert provider.resolve_object_details(NAME, DEFAULTS).value == {"t": 1}


def test_a_client_that_is_given_is_used_and_not_closed(settings: Settings, sent: list[Any]) -> None:
    with Client(settings) as client:
        client.resolver.show(View({KEY: an_active()}, {KEY: a_catalogue(v1={"t": 1})}))
        provider = CrlProvider(client=client)
        api.set_provider_and_wait(provider)
        assert (evaluate().value, api.get_client().get_provider_status()) == ({"t": 1}, ProviderStatus.READY)
        provider.shutdown()
        assert client.publisher.invocation(*KEY, "v1", "success") and len(sent) == 1
        assert client.resolver.state == "live"


def test_an_evaluation_and_an_outcome_add_less_than_a_millisecond_each(settings: Settings, sent: list[Any]) -> None:
    knows(settings, an_active(), v1={str(n): "x" * 50 for n in range(250)})
    for work in (evaluate, lambda: track(0.5)):
        times = []
        for _ in range(500):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        # The median, because other processes share the machine.
        assert sorted(times)[250] < 0.001


# -- evaluations -----------------------------------------------------------------------------------
def test_the_object_is_the_configuration_and_the_string_is_the_variant(settings: Settings) -> None:
    knows(settings, an_active(epoch=3, cause="rollback", cause_id="rb-1"), v1={"t": 1})
    details = evaluate()
    assert (details.value, details.variant, details.reason) == ({"t": 1}, "v1", Reason.STATIC)
    metadata = dict(details.flag_metadata)
    assert metadata.pop("invocation_id")
    assert metadata == {"variant_id": "v1", "epoch": 3, "source": "live", "rollback_id": "rb-1"}
    client = api.get_client()
    assert client.get_string_value(NAME, "mine") == client.get_string_value(f"{NAME}/variant", "mine") == "v1"


def test_what_an_agent_does_with_its_configuration_changes_no_later_answer(settings: Settings) -> None:
    knows(settings, an_active(), v1={"tools": ["a"]})
    evaluate().value["tools"].append("b")
    assert evaluate().value == {"tools": ["a"]}


@pytest.mark.parametrize(
    ("kind", "field", "default", "expected"),
    [
        ("float", "whole", 0.5, 1.0),
        ("integer", "whole", 5, 1),
        ("boolean", "flag", False, True),
        ("string", "text", "x", "hi"),
        ("object", "list", [], [1, 2]),
        ("integer", "flag", 5, ErrorCode.TYPE_MISMATCH),
        ("integer", "part", 5, ErrorCode.TYPE_MISMATCH),
        ("boolean", "whole", False, ErrorCode.TYPE_MISMATCH),
        ("string", "whole", "x", ErrorCode.TYPE_MISMATCH),
        ("float", "missing", 0.5, ErrorCode.FLAG_NOT_FOUND),
    ],
)
def test_a_field_of_the_configuration_has_its_own_type(
    settings: Settings, kind: str, field: str, default: Any, expected: Any
) -> None:
    knows(settings, an_active(), v1={"whole": 1, "part": 0.5, "flag": True, "text": "hi", "list": [1, 2]})
    details = getattr(api.get_client(), f"get_{kind}_details")(f"{NAME}/{field}", default)
    if isinstance(expected, ErrorCode):
        assert (details.error_code, details.value) == (expected, default)
    else:
        assert (details.error_code, details.value) == (None, expected) and type(details.value) is type(expected)


def test_the_reason_says_how_the_session_got_its_variant(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    knows(settings, None)
    assert evaluate().error_code is ErrorCode.FLAG_NOT_FOUND
    provider = knows(settings, an_active(), v1={"t": 1}, v2={"t": 2})
    assert evaluate().reason is Reason.STATIC
    weights = {"weights": {"v1": 500, "v2": 500}}
    view = View({KEY: an_active(**weights)}, {KEY: a_catalogue(v1={"t": 1}, v2={"t": 2})})
    assert provider.client is not None
    provider.client.resolver.show(view)
    assert {evaluate(EvaluationContext(f"s-{n}")).reason for n in range(20)} == {Reason.SPLIT}
    assert len({evaluate(EvaluationContext(f"s-{n}")).variant for n in range(20)}) == 2
    assert len({evaluate().variant for _ in range(20)}) == 1, "a session keeps its variant"
    sticky = View({KEY: an_active(on_change="next_session")}, view.known)
    provider.client.resolver.show(sticky)
    evaluate()
    provider.client.resolver.show(View({KEY: an_active("v2", 2, on_change="next_session")}, view.known))
    details = evaluate()
    assert (details.variant, details.reason, details.flag_metadata["epoch"]) == ("v1", Reason.TARGETING_MATCH, 2)
    assert evaluate(EvaluationContext("another")).variant == "v2"
    monkeypatch.setattr(resolver, "STALE_SECONDS", 0.0)
    assert evaluate(EvaluationContext("another")).reason is Reason.STALE


def test_the_agents_own_configuration_needs_no_registered_one_and_a_ref_is_passed_on(settings: Settings) -> None:
    knows(settings, an_active("default"))
    assert (evaluate().value, evaluate().variant, evaluate().reason) == (DEFAULTS, "default", Reason.DEFAULT)
    knows(settings, an_active("v1"), v1="langfuse:refund@12")
    details = evaluate()
    assert (details.value, details.variant) == (DEFAULTS, "v1")
    assert details.flag_metadata["ref"] == "langfuse:refund@12"


def test_outcomes_of_the_agents_own_configuration_are_not_credited_to_a_variant_without_one(
    settings: Settings, sent: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    knows(settings, an_active("v9"), v9=None)
    details = evaluate()
    assert (details.value, details.error_code) == (DEFAULTS, ErrorCode.GENERAL)
    track(0.5)
    assert [(one.variant_id, one.variant_source) for one in sent] == [("default", "default")]
    assert any("no configuration is registered for the variant v9" in one.message for one in caplog.records)


# -- events ----------------------------------------------------------------------------------------
def test_events_tell_when_flags_change_and_when_changes_are_not_followed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = use_silent_kafka(monkeypatch, an_active())
    monkeypatch.setattr(resolver, "STALE_SECONDS", 0.3)
    events: list[tuple[ProviderEvent, list[str] | None]] = []

    def listen(event: ProviderEvent) -> None:
        def handler(details: EventDetails) -> None:
            events.append((event, details.flags_changed))

        api.add_handler(event, handler)

    for event in ProviderEvent:
        listen(event)
    api.set_provider_and_wait(CrlProvider(settings, wait_seconds=10.0))
    ready, changed = (ProviderEvent.PROVIDER_READY, None), ProviderEvent.PROVIDER_CONFIGURATION_CHANGED
    assert eventually(lambda: ready in events)

    def publish(*records: m.ActiveVariant) -> None:
        monkeypatch.setattr(kafka, "records", [*SilentKafka.records, *map(encode, records)])

    # A hold changes nothing that a flag shows, and a new variant does.
    order = m.snapshots.Order(actor="ada", reason="x", since="2026-01-01T00:00:00Z", until=None)
    publish(an_active(held=order), an_active("v2", 2))
    assert eventually(lambda: (changed, [NAME]) in events)
    assert [event for event, _ in events].count(changed) == 1

    monkeypatch.setattr(kafka, "answers", False)
    assert eventually(lambda: (ProviderEvent.PROVIDER_STALE, None) in events)
    assert api.get_client().get_provider_status() is ProviderStatus.STALE
    publish(an_active("v3", 3))
    monkeypatch.setattr(kafka, "answers", True)
    assert eventually(lambda: events[-2:] == [ready, (changed, [NAME])])
    assert api.get_client().get_provider_status() is ProviderStatus.READY


def test_the_status_is_error_until_kafka_answers_and_ready_after(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = use_silent_kafka(monkeypatch, an_active())
    monkeypatch.setattr(kafka, "answers", False)
    monkeypatch.setattr(module, "_AFTER_INITIALIZE_SECONDS", 0.01)
    api.set_provider_and_wait(CrlProvider(settings))
    client = api.get_client()
    assert eventually(lambda: client.get_provider_status() is ProviderStatus.ERROR)
    monkeypatch.setattr(kafka, "answers", True)
    assert eventually(lambda: client.get_provider_status() is ProviderStatus.READY)
    assert evaluate().variant is None or evaluate().reason is Reason.STATIC


def test_a_start_without_kafka_from_the_variants_of_an_earlier_run_is_stale(settings: Settings) -> None:
    kept = {ACTIVE_VARIANTS: [an_active()], VARIANTS: [a_catalogue(v1={"t": 1})]}
    assert keep(settings, kept) is None
    # While initialize waits, the state is announced; the SDK then announces READY.
    api.set_provider_and_wait(CrlProvider(settings, wait_seconds=0.3))
    assert eventually(lambda: api.get_client().get_provider_status() is ProviderStatus.STALE)
    assert (evaluate().value, evaluate().reason) == ({"t": 1}, Reason.STALE)


# -- tracking --------------------------------------------------------------------------------------
def test_an_outcome_names_the_variant_epoch_source_and_session_of_its_evaluation(
    settings: Settings, sent: list[Any]
) -> None:
    knows(settings, an_active(epoch=4), v1={"t": 1})
    details = evaluate()
    track(0.75, cost=0.02, model="m-1")
    (outcome,) = sent
    assert (outcome.variant_id, outcome.active_epoch, outcome.variant_source) == ("v1", 4, "live")
    assert (outcome.session_id, outcome.status, outcome.quality, outcome.cost) == ("session-1", "success", 0.75, 0.02)
    assert outcome.invocation_id == details.flag_metadata["invocation_id"]


def test_outcomes_of_concurrent_invocations_of_one_session_are_not_mixed_up(
    settings: Settings, sent: list[Any]
) -> None:
    provider = knows(settings, an_active(), v1={"t": 1}, v2={"t": 2})
    assert provider.client is not None

    async def invocation(wait_for: asyncio.Event, then: asyncio.Event, quality: float) -> None:
        evaluate()
        then.set()
        await wait_for.wait()
        track(quality)

    async def both() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        one = asyncio.create_task(invocation(second, first, 0.1))
        await first.wait()
        provider.client.resolver.show(View({KEY: an_active("v2", 2)}, {KEY: a_catalogue(v1={"t": 1}, v2={"t": 2})}))
        await asyncio.gather(one, asyncio.create_task(invocation(first, second, 0.2)))

    asyncio.run(both())
    assert {(one.variant_id, one.quality) for one in sent} == {("v1", 0.1), ("v2", 0.2)}


def test_a_session_tracked_in_another_thread_finds_its_evaluation(settings: Settings, sent: list[Any]) -> None:
    knows(settings, an_active(), v1={"t": 1})
    evaluate(EvaluationContext("s-1"))
    evaluate(EvaluationContext("s-2"))
    thread = threading.Thread(target=track, args=(0.5, EvaluationContext("s-1")))
    thread.start()
    thread.join()
    assert [one.session_id for one in sent] == ["s-1"]


def test_each_tracked_outcome_is_an_invocation_of_its_own(settings: Settings, sent: list[Any]) -> None:
    knows(settings, an_active(), v1={"t": 1})
    evaluate()
    for _ in range(3):
        track(0.5)
    assert len({one.invocation_id for one in sent}) == 3


def test_an_outcome_without_an_evaluation_is_rejected_and_says_why(
    settings: Settings, sent: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    provider = knows(settings, an_active(), v1={"t": 1})
    track(0.5, EvaluationContext("never seen"))
    assert provider.client is not None
    assert (sent, provider.client.publisher.stats.rejected) == ([], 1)
    assert any("did not evaluate the flag" in record.message for record in caplog.records)


def test_the_details_of_an_evaluation_link_an_outcome_that_another_process_tracks(
    settings: Settings, sent: list[Any]
) -> None:
    knows(settings, an_active(epoch=4), v1={"t": 1})
    details = evaluate()
    knows(settings, an_active("v2", 5), v2={"t": 2})
    event = outcome_of(details, 0.5, status="failure", tokens_input=10)
    api.get_client().track(NAME, CONTEXT, event)
    (outcome,) = sent
    assert (outcome.variant_id, outcome.active_epoch, outcome.status, outcome.quality) == ("v1", 4, "failure", 0.5)
    assert outcome.invocation_id == details.flag_metadata["invocation_id"]


def test_a_late_score_amends_the_outcome_of_its_evaluation(settings: Settings, sent: list[Any]) -> None:
    knows(settings, an_active(), v1={"t": 1})
    details = evaluate()
    track()
    feedback = f"{NAME}/feedback"
    api.get_client().track(feedback, CONTEXT, TrackingEventDetails(0.5, {"evaluator": "judge@2", "judge": "ada"}))
    api.get_client().track(feedback, None, outcome_of(details, reward=-1.0))
    outcome, score, reward = sent
    assert (score.invocation_id, score.quality, score.evaluator) == (outcome.invocation_id, 0.5, "judge@2")
    assert (reward.invocation_id, reward.reward, reward.quality) == (outcome.invocation_id, -1.0, None)


def test_events_of_the_application_are_ignored_and_misspelt_names_and_attributes_are_not(
    settings: Settings, sent: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    provider = knows(settings, an_active(), v1={"t": 1})
    evaluate()
    assert provider.client is not None
    api.get_client().track("purchase", CONTEXT, TrackingEventDetails(99.0))
    assert (sent, provider.client.publisher.stats.rejected) == ([], 0)
    api.get_client().track("refund agent/answer", CONTEXT, TrackingEventDetails(0.5))
    assert (sent, provider.client.publisher.stats.rejected) == ([], 1)
    with caplog.at_level(logging.WARNING):
        track(0.5, tokens_in=7)
    assert len(sent) == 1
    assert any("tokens_in" in record.message for record in caplog.records)


# -- tracked ---------------------------------------------------------------------------------------
def test_a_block_that_ends_with_an_exception_is_an_error_and_one_that_is_cancelled_is_no_outcome(
    settings: Settings, sent: list[Any]
) -> None:
    provider = knows(settings, an_active(), v1={"t": 1})
    client = api.get_client()

    def work(error: BaseException | None, **fields: Any) -> None:
        with tracked(client, NAME, CONTEXT) as outcome:
            evaluate()
            for name, value in fields.items():
                setattr(outcome, name, value)
            if error is not None:
                raise error

    work(None, quality=0.5, attributes={"cost": 0.01})
    for error, fields in (
        (ValueError("x"), {}),
        (asyncio.CancelledError(), {}),
        (KeyboardInterrupt(), {"status": "failure"}),
    ):
        with pytest.raises(type(error)):
            work(error, **fields)
    assert [one.status for one in sent] == ["success", "error", "failure"]
    assert (sent[0].quality, sent[0].cost) == (0.5, 0.01) and sent[0].duration_seconds > 0
    assert provider.client is not None
    assert provider.client.health().abandoned == 1
