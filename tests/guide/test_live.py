"""The live store without a broker: the stages write the topics in memory, and the store follows them like real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import AGENT, TASK, a_collapse, a_command, a_policy, an_invocation, invocations
from msgspec.structs import replace

from crl_stream.core import messages as m
from crl_stream.core.policy import Limits, Policy, PolicySet
from crl_stream.errors import CommandRefused, CrlError, Unavailable
from crl_stream.guide import following, live
from crl_stream.guide.q_learning import QLearningEngine
from crl_stream.guide.rollback_manager import RollbackManager
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.store import Store
from crl_stream.kafka.reader import Received
from crl_stream.settings import load_settings
from crl_stream.stages.driver import TopologyDriver
from crl_stream.wire.codec import decode
from crl_stream.wire.topics import COMMANDS, ROLLBACKS, TASKS
from guide.world import WHO, active_of

AT_ONCE = PolicySet(Policy(limits=Limits(snapshot_outcomes=1, snapshot_seconds=0.0)))
STRICT = {"degradation_success_threshold": 0.02}


class Topics:
    """Replaces the broker: a driver whose topics grow, and readers that wait for new records."""

    def __init__(self) -> None:
        self.driver = TopologyDriver()
        self.driver.pipe(a_policy(AT_ONCE))
        self.streams = list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[Any], dict[str, int]]]()
        self.refusal: str | None = None
        self.meanwhile: list[Any] = []
        """Messages that arrive just before a command is sent."""

    def pipe(self, *messages: Any) -> None:
        self.driver.pipe_each(messages)
        for loop, queue, seen in self.streams:
            for topic in seen if not loop.is_closed() else ():
                fresh = self.received(topic)[seen[topic] :]
                seen[topic] += len(fresh)
                for received in fresh:
                    loop.call_soon_threadsafe(queue.put_nowait, received)

    def break_down(self, error: Exception) -> None:
        for loop, queue, _ in self.streams:
            loop.call_soon_threadsafe(queue.put_nowait, error)

    def received(self, topic: str) -> list[Received]:
        found = [(record, decode(topic, record.value, record.key)) for record in self.driver.records(topic)]
        return [Received(topic, record, decoded.message) for record, decoded in found]  # type: ignore[union-attr]

    async def give(self, kafka: Any, command: Any) -> m.CommandResult:
        assert kafka.partitions == 1
        self.pipe(*self.meanwhile)
        if self.refusal is not None:
            raise CommandRefused(self.refusal)
        self.pipe(command)
        results = [r.message for r in self.received("crl.decisions") if isinstance(r.message, m.CommandResult)]
        [result] = [r for r in results if r.command_id == command.command_id]
        return result

    def reader(self, _: Any) -> Reader:
        return Reader(self)


class Reader:
    """A reader with only the parts of a ``TopicReader`` that these tests need."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics

    async def cluster_id(self) -> str:
        return "a-cluster"

    async def partitions(self, _: str) -> int:
        return self.topics.driver.partitions

    async def read(self, topic: str) -> list[Received]:
        return self.topics.received(topic)

    @asynccontextmanager
    async def following(self, topics: Any) -> AsyncIterator[AsyncIterator[Received]]:
        queue = asyncio.Queue[Any]()
        seen = {topic: len(self.topics.received(topic)) for topic in topics}
        self.topics.streams.append((asyncio.get_running_loop(), queue, seen))

        async def stream() -> AsyncIterator[Received]:
            while not isinstance(item := await queue.get(), Exception):
                yield item
            raise item

        yield stream()


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    found = Topics()
    monkeypatch.setattr(following, "TopicReader", found.reader)
    monkeypatch.setattr(live, "give", found.give)
    return found


@pytest.fixture
def connect(topics: Topics, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    opened = list[Store]()
    settings = load_settings(environment={}, flags={"client.cache_dir": str(tmp_path / "cache")})

    def connected() -> Store:
        opened.append(Store.connect(settings=settings))
        return opened[-1]

    yield connected
    for store in opened:
        store.close()


def two_failures() -> list[Any]:
    """Return outcomes whose success rate is down by 6.9 %, which the guide accepts."""
    return [
        *invocations("default", "S" * 50, reward=0.5),
        *invocations("rescue", "S" * 20, reward=0.4, variant_source="explore"),
        *invocations("default", "SSSSFSSSFS", reward=0.5),
    ]


def test_a_drill_is_no_part_of_what_a_script_sees(topics: Topics, connect: Callable[[], Store]) -> None:
    topics.pipe(*invocations("default", "S" * 3))
    topics.pipe(*[replace(element, agent_name="crl-drill", task_type="silent-1") for element in a_collapse()])
    store = connect()
    assert [row.agent_name for row in store.source.rows()] == [AGENT]
    assert store.get_active_variants() == [(AGENT, TASK, "default")]
    assert store.source.rollbacks() == []


def test_a_rollback_of_the_time_before_is_told_for_the_variant_that_is_away_only(
    topics: Topics, connect: Callable[[], Store]
) -> None:
    topics.pipe(*a_collapse())
    store = connect()
    manager = RollbackManager(store=store)
    assert manager.monitor_and_rollback(*WHO, "default") is None
    event = manager.monitor_and_rollback(*WHO, "api-optimized")
    assert event is not None
    assert event["to_variant"] == active_of(store) == "default"
    assert manager.monitor_and_rollback(*WHO, "api-optimized") is None


def test_a_rollback_that_its_task_no_longer_stands_on_is_history(topics: Topics, connect: Callable[[], Store]) -> None:
    topics.pipe(*a_collapse(), a_command(m.UndoRollback))
    manager = RollbackManager(store=connect())
    for variant in ("default", "api-optimized"):
        assert manager.monitor_and_rollback(*WHO, variant) is None
    assert len(manager.get_rollback_history()) == 1


def test_a_rollback_that_comes_while_one_listens_is_told_under_either_name_once(
    topics: Topics, connect: Callable[[], Store]
) -> None:
    store = connect()
    topics.pipe(*a_collapse())
    manager = RollbackManager(store=store)
    assert store.wait_until(lambda: bool(manager.get_rollback_history()))
    assert store.wait_until(lambda: active_of(store) == "default")
    event = manager.monitor_and_rollback(*store.get_active_variants()[0])
    assert event is not None
    assert event["from_variant"] == "api-optimized"
    assert manager.monitor_and_rollback(*WHO, "api-optimized") is None


def test_figures_are_those_of_the_newest_snapshot_in_whatever_order_they_are_met(
    topics: Topics, connect: Callable[[], Store]
) -> None:
    store = connect()
    topics.pipe(*invocations("default", "S" * 7))
    learning = QLearningEngine(store=store)
    assert store.wait_until(lambda: learning.get_visit_count(*WHO, "default") == 7)
    loop, queue, _ = topics.streams[0]
    for again in topics.received(TASKS)[:3]:
        loop.call_soon_threadsafe(queue.put_nowait, again)
    topics.pipe(an_invocation("other", variant_source="explore"))
    assert store.wait_until(lambda: learning.get_visit_count(*WHO, "other") == 1)
    assert learning.get_visit_count(*WHO, "default") == 7


def test_a_task_is_judged_by_the_policy_that_its_snapshot_names(topics: Topics, connect: Callable[[], Store]) -> None:
    cautious = PolicySet(
        Policy(auto_apply=load_settings(environment={"CRL_PROFILE": "conservative"}).policies.default.auto_apply)
    )
    topics.pipe(*invocations("default", "S" * 5))
    store = connect()
    monitor = SafetyMonitor(store=store)
    assert monitor.should_auto_apply_variant(*WHO, "v", 0.92, 12)[0] == "auto_apply"
    topics.pipe(a_policy(cautious), *invocations("default", "S" * 5))  # the tenth outcome triggers a snapshot
    assert store.wait_until(lambda: monitor.should_auto_apply_variant(*WHO, "v", 0.92, 12)[0] == "human_approval")
    assert monitor.thresholds["auto_apply_q_threshold"] == 0.95


# -- orders ----------------------------------------------------------------------------------------
def test_without_thresholds_of_ones_own_nothing_is_ever_ordered(topics: Topics, connect: Callable[[], Store]) -> None:
    topics.pipe(*two_failures())
    orders = len(topics.received(COMMANDS))
    for monitor in (SafetyMonitor(store=connect()), SafetyMonitor(store=connect(), lookback_window=20)):
        assert RollbackManager(monitor).monitor_and_rollback(*WHO, "default") is None
    assert len(topics.received(COMMANDS)) == orders


def test_stricter_thresholds_order_the_rollback_for_the_epoch_that_was_seen(
    topics: Topics, connect: Callable[[], Store]
) -> None:
    topics.pipe(*two_failures())
    store = connect()
    event = RollbackManager(SafetyMonitor(store=store, **STRICT)).monitor_and_rollback(*WHO, "default")
    assert event is not None
    ordered = topics.received(COMMANDS)[-1].message
    assert (ordered.variant_id, ordered.expected_epoch, ordered.reason) == ("rescue", 1, event["reason"])
    assert (event["from_variant"], event["to_variant"], event["epoch"]) == ("default", "rescue", 2)
    assert topics.received(ROLLBACKS) == []


@pytest.mark.parametrize(
    "before",
    [[a_command(m.HoldTask)], [a_command(m.RetireVariant, variant_id="rescue")]],
    ids=["held", "no target"],
)
def test_a_hold_and_a_missing_target_keep_the_variant(
    topics: Topics, connect: Callable[[], Store], before: list[Any]
) -> None:
    topics.pipe(*two_failures(), *before)
    strict = SafetyMonitor(store=connect(), **STRICT)
    assert RollbackManager(strict).monitor_and_rollback(*WHO, "default") is None
    assert strict.check_performance_degradation(*WHO, "default")[0]


def test_where_the_monitor_was_quicker_its_own_rollback_is_told(topics: Topics, connect: Callable[[], Store]) -> None:
    topics.pipe(*two_failures())
    store = connect()
    manager = RollbackManager(SafetyMonitor(store=store, **STRICT))
    topics.refusal = "the epoch is 2, not 1"
    with pytest.raises(CommandRefused, match="epoch"):
        manager.monitor_and_rollback(*WHO, "default")

    topics.meanwhile = invocations("default", "F" * 4, reward=0.5)
    event = manager.monitor_and_rollback(*WHO, "default")
    assert event is not None
    assert event["rollback_id"] == topics.received(ROLLBACKS)[0].message.rollback_id


def test_a_policy_is_not_put_into_force_from_a_script(topics: Topics, connect: Callable[[], Store]) -> None:
    with pytest.raises(CommandRefused, match=r"crl\.toml"):
        connect().source.put_in_force(AT_ONCE)


# -- failures --------------------------------------------------------------------------------------
@pytest.mark.parametrize("error", [Unavailable("Kafka does not answer."), ValueError("a bug")])
def test_what_ends_the_following_is_raised_at_the_next_question(
    topics: Topics, connect: Callable[[], Store], error: Exception
) -> None:
    store = connect()
    topics.break_down(error)
    with pytest.raises(Unavailable):
        store.wait_until(lambda: False, 60.0)
    for question in (store.get_active_variants, QLearningEngine(store=store).get_all_q_values):
        with pytest.raises(Unavailable):
            question()


def test_topics_that_are_not_read_in_time_are_given_up(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> list[Received]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Reader, "read", never)
    with pytest.raises(CrlError, match=r"within 0 s"):
        Store.connect(settings=load_settings(environment={}), timeout=0.2)


def test_scripts_that_cron_starts_one_after_another_tell_each_rollback_once(
    topics: Topics, connect: Callable[[], Store]
) -> None:
    """As in the guide's Example 2, each run checks the active variants and reports new rollbacks."""

    def run() -> list[str]:
        store = connect()
        manager = RollbackManager(store=store)
        found = [manager.monitor_and_rollback(*active) for active in store.get_active_variants()]
        store.close()
        return [event["rollback_id"] for event in found if event is not None]

    topics.pipe(*invocations("default", "S"))
    assert run() == []
    topics.pipe(*a_collapse())
    [happened] = [r.message.rollback_id for r in topics.received(ROLLBACKS)]
    assert run() == [happened]
    assert run() == []


def test_of_two_scripts_that_run_at_once_one_tells(topics: Topics, connect: Callable[[], Store]) -> None:
    stores = [connect(), connect()]
    topics.pipe(*a_collapse())
    for store in stores:
        assert store.wait_until(lambda store=store: bool(store.source.rollbacks()) and active_of(store) == "default")  # type: ignore[misc]
    told = [RollbackManager(store=store).monitor_and_rollback(*WHO, "default") for store in stores]
    assert [event is None for event in told] in ([True, False], [False, True])


def test_where_nothing_can_be_kept_a_script_works_and_says_once_what_it_does_without(
    topics: Topics, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    settings = load_settings(environment={}, flags={"client.cache_dir": str(tmp_path / "file" / "cache")})
    with Store.connect(settings=settings) as store:
        topics.pipe(*a_collapse())
        assert store.wait_until(lambda: bool(store.source.rollbacks()) and active_of(store) == "default")
        manager = RollbackManager(store=store)
        assert manager.monitor_and_rollback(*WHO, "default") is not None
        assert manager.monitor_and_rollback(*WHO, "default") is None
    assert [r.message for r in caplog.records if "remembered by this process only" in r.message]
