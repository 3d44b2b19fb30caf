"""How positions and task names on the command line are resolved."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from crl_stream.cli import orders
from crl_stream.cli.dead_letters.letters import DeadLetter, letter_at, pair_up
from crl_stream.core import messages as m
from crl_stream.core.identity import TaskKey
from crl_stream.errors import NotFound, UsageError
from crl_stream.kafka.reader import Received
from crl_stream.settings.model import Kafka
from crl_stream.wire.dead_letter import dead_letter
from crl_stream.wire.reasons import NOT_JSON
from crl_stream.wire.topics import COMMANDS, DEAD_LETTERS, INVOCATIONS

KEY = TaskKey("backend-architect", "api-design")


class Refused(NamedTuple):
    """A record that was refused."""

    offset: int
    headers: tuple[Any, ...] = ()
    timestamp: int = 0
    key: bytes = b"a/b"
    value: bytes = b"?"


def a_letter(topic: str, partition: int, offset: int) -> DeadLetter:
    letter = dead_letter(Refused(offset), topic, partition, NOT_JSON, "not JSON")
    [one] = pair_up([Received(DEAD_LETTERS, letter, None)])
    return one


LETTERS = [a_letter(INVOCATIONS, 0, 7), a_letter(COMMANDS, 0, 7), a_letter(COMMANDS, 0, 15)]


def test_a_dead_letter_is_found_by_what_the_list_shows_whatever_its_topic() -> None:
    assert letter_at(LETTERS, None, (0, 15)) is LETTERS[2]
    assert letter_at(LETTERS, COMMANDS, (0, 7)) is LETTERS[1]
    for topic, partition, offset in ((None, 1, 15), (INVOCATIONS, 0, 15), (None, 0, 8)):
        with pytest.raises(NotFound):
            letter_at(LETTERS, topic, (partition, offset))


def test_the_same_place_of_two_topics_is_asked_back() -> None:
    with pytest.raises(UsageError, match=r"crl\.commands and one from crl\.invocations") as caught:
        letter_at(LETTERS, None, (0, 7))
    assert caught.value.hint == "add --topic crl.commands"


@pytest.mark.parametrize("kind", [m.ActivateVariant, m.PinVariant])
async def test_a_variant_may_be_named_before_the_first_outcome(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    async def nothing(*_: Any) -> Any:
        raise NotFound("Nothing is known.", hint=None)

    async def take(_kafka: Any, command: Any, _timeout: float) -> None:
        given.append(command)

    monkeypatch.setattr(orders, "active_variant", nothing)
    monkeypatch.setattr(orders, "give", take)

    await orders.order(Kafka(), kind, KEY, epoch=None, variant_id="v1")
    assert [(command.variant_id, command.expected_epoch) for command in given] == [("v1", 0)]
    with pytest.raises(NotFound):
        await orders.order(Kafka(), m.UndoRollback, KEY, epoch=None)
