"""Follows the active variants, the catalogues and the answers to commands, of all tasks, outside any group."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, NoReturn

from aiokafka.errors import KafkaError

from crl_stream.core.messages import ActiveVariant, CommandResult, VariantCatalogue
from crl_stream.errors import CrlError
from crl_stream.kafka.reader import TopicReader
from crl_stream.settings.model import Kafka
from crl_stream.stages.topology import MIRROR
from crl_stream.wire.partitioner import partition_of
from crl_stream.wire.topics import TOPIC_OF
from crl_stream.worker.log_lines import RETRIED
from crl_stream.worker.mirrors.board import Board

log = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 2.0
"""Seconds between two attempts to follow the topics."""


async def follow_topics(kafka: Kafka, board: Board) -> NoReturn:
    """Keep the board up to date for ever; if Kafka does not answer, try again."""
    while True:
        try:
            await _follow(kafka, board)
        except (CrlError, KafkaError) as error:
            log.warning("the mirror cannot follow the topics; trying again: %s", error, extra=RETRIED)
        await asyncio.sleep(AGAIN_SECONDS)


async def _follow(kafka: Kafka, board: Board) -> None:
    # The positions are fixed before everything is read, so that nothing between the two is missed.
    async with TopicReader(kafka) as reader, reader.following(MIRROR.looks_up) as news:
        for kind in (VariantCatalogue, ActiveVariant):
            async for received in reader.each(TOPIC_OF[kind]):
                if received.message is not None:
                    board.take(received.topic, received.message)
        for key, command_id in board.unanswered().items():
            await _look_for_answer(reader, board, partition_of(key.encode(), kafka.partitions), command_id)
        board.ready.set()
        async for received in news:
            if received.message is not None:
                board.take(received.topic, received.message)


async def _look_for_answer(reader: TopicReader, board: Board, partition: int, command_id: str) -> None:
    """Look for the result of a command that an earlier process sent."""
    async for received in reader.each(TOPIC_OF[CommandResult], partition):
        if isinstance(received.message, CommandResult) and received.message.command_id == command_id:
            board.take(received.topic, received.message)
            return
