"""Names outside the documented API of Faust and aiokafka still exist and are called as our overrides expect."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import re
from typing import Any

import aiokafka
import faust
import pytest
from aiokafka.consumer.fetcher import Fetcher
from faust import streams
from faust.transport.drivers import aiokafka as driver
from source_tree import ROOT

from crl_stream.errors import Unsafe
from crl_stream.worker.member import App
from crl_stream.worker.transport import private_surface
from crl_stream.worker.transport.consumer import Consumer
from crl_stream.worker.transport.fetching import ConsumerThread
from crl_stream.worker.transport.private_surface import FAUST_VERSION, SURFACE, check_version
from crl_stream.worker.transport.producer import Producer
from crl_stream.worker.transport.scheme import SCHEME, Transport, register

NAMES = [(place, name) for place, names in SURFACE.items() for name in names]
DOCUMENTED = {"_asdict", "_fields", "_replace", "_exit"}
"""Names of named tuples and of os, which are private by name only."""
CALLERS = {"faust.app.base", "faust.transport.conductor", "mode.services"}
OVERRIDDEN = [
    (App, faust.App),
    (Consumer, driver.Consumer),
    (ConsumerThread, driver.AIOKafkaConsumerThread),
    (Producer, driver.Producer),
]


def found(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def overrides(ours: type, theirs: type) -> list[str]:
    """Return the methods that we override."""
    own = [name for name, value in vars(ours).items() if inspect.isfunction(value) and hasattr(theirs, name)]
    return [name for name in own if not name.startswith("__")]


@pytest.mark.parametrize("place", SURFACE)
def test_every_place_of_the_surface_exists(place: str) -> None:
    assert found(place) is not None


@pytest.mark.parametrize(("place", "name"), NAMES)
def test_every_name_of_the_surface_exists(place: str, name: str) -> None:
    holder = found(place)
    # An instance attribute appears by name in the code of its class.
    assert hasattr(holder, name) or any(f"self.{name}" in inspect.getsource(c) for c in holder.__mro__[:-1])


def test_the_installed_faust_is_the_one_this_was_tested_on() -> None:
    check_version()
    assert importlib.metadata.version("faust-streaming") == FAUST_VERSION


def test_another_faust_is_refused_with_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_surface, "version", lambda _: "0.99.0")
    with pytest.raises(Unsafe, match=r"0\.99\.0 is installed") as caught:
        check_version()
    assert caught.value.hint == f"pip install faust-streaming=={FAUST_VERSION}"


def test_another_aiokafka_is_refused_with_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_surface, "version", lambda name: FAUST_VERSION if "faust" in name else "0.15.0")
    with pytest.raises(Unsafe, match=r"aiokafka 0\.15\.0 is installed") as caught:
        check_version()
    assert caught.value.hint == "pip install 'aiokafka==0.14.*'"


def test_no_private_name_of_others_is_touched_that_the_surface_does_not_list() -> None:
    listed = {name for names in SURFACE.values() for name in names}
    # A hook touches its own framework, and its tests run with the real package.
    files = [path for path in (ROOT / "crl_stream").rglob("*.py") if path.parent.name != "hooks"]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    functions = {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    fields = {n.target.id for n in nodes if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    attributes = [n for n in nodes if isinstance(n, ast.Attribute) and re.match(r"_[a-z]", n.attr)]
    on_self = [n.attr for n in attributes if isinstance(n.value, ast.Name) and n.value.id in {"self", "cls"}]
    stored = {n.attr for n in attributes if isinstance(n.ctx, ast.Store) and n.attr in on_self}
    own = functions | fields | names | stored
    touched = {n.attr for n in attributes} - own - DOCUMENTED
    assert {"_actors", "_drainer", "_fetcher", "_fetch_max_wait_ms"} <= touched, "the search finds known names"
    assert touched - listed == set()


def test_a_faust_without_its_compiled_stream_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_CStreamIterator", None)
    with pytest.raises(Unsafe, match="without its compiled extensions"):
        check_version()


@pytest.mark.parametrize(("ours", "theirs"), OVERRIDDEN)
def test_everything_we_override_takes_the_arguments_that_faust_passes(ours: type, theirs: type) -> None:
    assert overrides(ours, theirs)
    for name in overrides(ours, theirs):
        own, stock = getattr(ours, name), getattr(theirs, name)
        assert list(inspect.signature(own).parameters) == list(inspect.signature(stock).parameters), name
        assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(stock), name


@pytest.mark.parametrize(("ours", "theirs"), OVERRIDDEN)
def test_everything_we_override_is_still_called_by_faust(ours: type, theirs: type) -> None:
    modules = {c.__module__ for c in theirs.__mro__ if c.__module__.startswith("faust")} | CALLERS
    called = "".join(inspect.getsource(importlib.import_module(module)) for module in sorted(modules))
    assert [name for name in overrides(ours, theirs) if not re.search(rf"\.{name}\b", called)] == []


def test_the_overrides_are_all_listed_in_the_surface() -> None:
    listed = {place: set(names) for place, names in SURFACE.items()}
    for ours, theirs in OVERRIDDEN:
        place = f"{'faust.app.base' if theirs is faust.App else 'faust.transport.drivers.aiokafka'}:{theirs.__name__}"
        assert set(overrides(ours, theirs)) <= listed[place], place


def test_aiokafka_waits_as_we_set_it_and_fetches_through_the_method_that_we_pace() -> None:
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in inspect.getsource(aiokafka.AIOKafkaConsumer)
    assert "self._proc_fetch_request(assignment, node_id, request)" in inspect.getsource(Fetcher)
    assert list(inspect.signature(Fetcher._proc_fetch_request).parameters)[1:] == ["assignment", "node_id", "request"]


def test_aiokafka_asks_for_nothing_of_a_paused_partition() -> None:
    assert "tp_state.paused" in inspect.getsource(Fetcher._get_actions_per_node)


@pytest.mark.parametrize("method", ["_proc_fetch_request", "fetched_records", "next_record"])
def test_aiokafka_makes_and_knows_fetched_records_by_the_names_that_are_replaced(method: str) -> None:
    names = {"_proc_fetch_request": {"MemoryRecords", "PartitionRecords", "FetchResult"}}
    function = getattr(Fetcher, method)
    assert names.get(method, {"FetchResult"}) <= set(function.__code__.co_names)
    assert function.__closure__ is None


def test_the_producer_waits_for_all_replicas_and_repeats_without_doubling() -> None:
    extra = Producer._settings_extra(object.__new__(Producer))
    assert extra == {"acks": "all", "enable_idempotence": True}
    assert "_settings_extra()" in inspect.getsource(driver.Producer)
    assert extra.keys() <= inspect.signature(aiokafka.AIOKafkaProducer.__init__).parameters.keys()


def test_the_producer_s_batches_have_what_a_write_asks_of_them() -> None:
    assert {"create_batch", "send_batch"} <= set(dir(aiokafka.AIOKafkaProducer))
    builder = aiokafka.producer.message_accumulator.BatchBuilder
    assert {"append", "record_count", "size"} <= set(dir(builder))
    assert {"timestamp", "key", "value", "headers"} <= inspect.signature(builder.append).parameters.keys()


def test_faust_finds_the_transport_under_its_scheme() -> None:
    register()
    assert driver.Transport is not Transport
    assert importlib.import_module("faust.transport.drivers").by_url(f"{SCHEME}://localhost") is Transport
