"""The board keeps the newest of everything, whatever the order in which it is read."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from core.mirrored import KEY, REFS, START, World, a_catalogue, an_active

from crl_stream.core import messages as m
from crl_stream.core.instant import to_text
from crl_stream.core.mirroring.label import published
from crl_stream.stages.mirror import message_output, mirror_key, read_record, record_output
from crl_stream.stages.topology import FIRST, MIRROR
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.records import Output
from crl_stream.wire.topics import ACTIVE_VARIANTS, ALERTS, DEAD_LETTERS, DECISIONS, RECEIPTS, VARIANTS
from crl_stream.worker.mirrors.board import ANSWERS, Board


class Read:
    """A record that was read."""

    headers = ()
    timestamp = START

    def __init__(self, output: Output, offset: int = 0) -> None:
        self.key, self.value, self.offset = output.key, output.value, offset


def a_label(revision: int = 1) -> m.MirrorLabel:
    world = World()
    world.round()
    assert world.record is not None
    return msgspec.structs.replace(world.record, revision=revision)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_newest_of_the_topics_is_kept_in_any_order(order: tuple[int, ...]) -> None:
    board = Board()
    board.take(VARIANTS, a_catalogue(REFS))
    actives = [an_active("v1", 1), an_active("v2", 2), an_active("v3", 3)]
    for at in order:
        board.take(ACTIVE_VARIANTS, actives[at])
    assert board.wanted("mlflow", "production")[KEY].version == "3"


def test_only_changes_of_tasks_with_prompts_in_a_store_wake_the_stores() -> None:
    board = Board()
    board.take(ACTIVE_VARIANTS, an_active("v1", 1))
    board.take(VARIANTS, a_catalogue({"v1": None, "v2": "6f1ed002"}))
    board.take(ACTIVE_VARIANTS, an_active("v2", 2))
    assert not board.changed and not board.woken["mlflow"].is_set()
    newer = msgspec.structs.replace(a_catalogue(REFS), position=m.Position(0, 9))
    board.take(VARIANTS, newer)
    assert board.changed["mlflow"] == {KEY}
    board.changed.clear()
    board.woken["mlflow"].clear()
    board.take(ACTIVE_VARIANTS, an_active("v2", 2, position=m.Position(0, 99), weights={"v2": 950, "v3": 50}))
    assert not board.woken["mlflow"].is_set(), "weights move no label"


def test_a_large_configuration_is_not_kept_in_memory() -> None:
    board, catalogue = Board(), a_catalogue(REFS)
    large = [msgspec.structs.replace(one, configuration={"prompt": "x" * 10_000}) for one in catalogue.variants]
    board.take(VARIANTS, msgspec.structs.replace(catalogue, variants=large))
    assert [one.configuration for one in board.catalogues[KEY].variants] == [None] * 3


def test_a_late_write_of_a_paused_process_is_noticed_and_not_believed() -> None:
    board = Board()
    board.take_record(a_label(5), 10)
    board.take_record(a_label(3), 7)
    assert not board.stale, "an older record before the newest is normal on every topic"
    board.take_record(a_label(4), 11)
    assert board.stale == {b"mlflow:" + KEY.encode()}
    newest = board.label("mlflow", KEY)
    assert newest is not None and newest.revision == 5
    board.take_record(newest, 12)
    assert not board.stale, "it was written again"


def test_answers_are_bounded_and_only_those_of_activations() -> None:
    board = Board()
    world = World()
    world.round()
    world.person("2")
    world.round(seconds=20)
    world.answer()
    [result] = world.answers.values()
    for number in range(ANSWERS + 5):
        board.take(DECISIONS, msgspec.structs.replace(result, command_id=f"cmd-{number}"))
    board.take(DECISIONS, msgspec.structs.replace(result, command="PinVariant", command_id="pin"))
    assert len(board.answers) == ANSWERS
    assert "pin" not in board.answers and "cmd-0" not in board.answers


# -- records as bytes --------------------------------------------------------------------------------
def test_a_record_comes_back_as_it_was_written() -> None:
    store = m.MirrorStore(store="langfuse", revision=1, alert_id=None)
    for record in (a_label(), store):
        assert read_record(Read(record_output(record))) == record
    assert mirror_key(store) == b"langfuse"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [(b"mlflow", b"nonsense", "not_json"), (b"mlflow", None, "null_value"), (b"x", b"", "not_json")],
)
def test_an_unreadable_record_becomes_a_dead_letter(key: bytes, value: bytes | None, reason: str) -> None:
    letter = read_record(Read(Output(MIRROR.source, FIRST, key, value)))
    assert isinstance(letter, Output) and (letter.topic, letter.key) == (DEAD_LETTERS, key)
    assert read_letter(letter.headers).reason == reason


def test_a_record_under_the_key_of_another_becomes_a_dead_letter() -> None:
    output = record_output(a_label())._replace(key=b"langfuse:a/b")
    letter = read_record(Read(output))
    assert isinstance(letter, Output)
    assert read_letter(letter.headers).reason == "key_mismatch"


def test_messages_go_to_the_partition_of_their_task_and_those_about_a_store_to_the_first() -> None:
    world = World()
    world.round()
    world.rollback("v2")
    world.round(seconds=1)
    [receipt] = world.receipts.values()
    output = message_output(receipt, 12)
    assert (output.topic, output.key) == (RECEIPTS, KEY.encode())
    alert = m.Alert(
        alert_id="a",
        timestamp=to_text(START),
        kind="mirror_unreachable",
        severity="warning",
        subject="prompt store mlflow",
        action="",
        text="",
        cause_id="a",
    )
    assert message_output(alert, 12)[:3] == (ALERTS, FIRST, b"prompt store mlflow")


def test_published_messages_are_gone_from_the_record_and_the_revision_grows() -> None:
    world = World()
    world.round()
    assert world.record is not None
    waiting = msgspec.structs.replace(world.record, alert=None, receipt=None)
    assert published(waiting).revision == waiting.revision + 1
