"""Runs the mirror in the process that owns the partition of its records, and nowhere else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from crl_stream.mirrors.langfuse import LangfuseLabels
from crl_stream.mirrors.mlflow import MLflowAliases
from crl_stream.mirrors.store import LabelStore
from crl_stream.settings import Settings
from crl_stream.settings.model import Langfuse, MLflow
from crl_stream.stages.topology import FIRST
from crl_stream.worker.mirrors.board import Board
from crl_stream.worker.mirrors.following import follow_topics
from crl_stream.worker.mirrors.labels import Labels
from crl_stream.worker.mirrors.stage import MirrorStage
from crl_stream.worker.stages import Outlet

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.2
"""The interval between two checks whether the partition has come or gone."""


class Mirroring:
    """Starts and ends the work with the partition of the records."""

    def __init__(self, settings: Settings, topic: str, outlet: Outlet) -> None:
        self.settings, self.topic, self.outlet = settings, topic, outlet
        self.stage = MirrorStage(topic, outlet, Board())
        self._running: list[asyncio.Task[None]] = []
        self._stores: list[LabelStore] = []

    async def look(self, partitions: Iterable[int]) -> None:
        """Start or end the work; raise the error that has ended it, if there is one."""
        owned = FIRST in partitions
        if not owned and self._running:
            await self.close()
        if owned and not self._running and self.stage.loaded:
            self._start()
        for task in self._running:
            if task.done():
                task.result()

    def _start(self) -> None:
        board, partitions = self.stage.board, self.settings.kafka.partitions
        works = [follow_topics(self.settings.kafka, board)]
        for store, options in _open_stores(self.settings):
            self._stores.append(store)
            works.append(Labels(store, options, board, self.outlet, partitions).run())
            log.info("mirroring the label %s in %s at %s", store.label, store.name, options.host)
        self._running = [asyncio.create_task(work) for work in works]

    async def close(self) -> None:
        """End the work and close the connections; another process continues from the records."""
        running, self._running = self._running, []
        stores, self._stores = self._stores, []
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(*(store.close() for store in stores), return_exceptions=True)
        # The records are read again from the beginning at the next assignment.
        self.stage.board.ready.clear()


def _open_stores(settings: Settings) -> list[tuple[LabelStore, Langfuse | MLflow]]:
    """Return the stores that are configured; nothing connects before the first request."""
    found: list[tuple[LabelStore, Langfuse | MLflow]] = []
    if settings.mirrors.langfuse.host:
        found.append((LangfuseLabels(settings.mirrors.langfuse), settings.mirrors.langfuse))
    if settings.mirrors.mlflow.host:
        found.append((MLflowAliases(settings.mirrors.mlflow), settings.mirrors.mlflow))
    return found
