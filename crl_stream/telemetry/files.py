"""Both telemetry files of a folder. There is one writer; a second is refused while the first is alive."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from crl_stream.core import messages as m
from crl_stream.core.drills import is_drill
from crl_stream.errors import ConfigError, Unavailable, UsageError
from crl_stream.telemetry.journal import Journal, Line
from crl_stream.telemetry.lines import proposal_event_id, proposal_line, rollback_line
from crl_stream.telemetry.locks import WRITER, HeldLock
from crl_stream.telemetry.reading import PROPOSALS_FILE, ROLLBACKS_FILE
from crl_stream.wire.codec import Rejected, decode_record
from crl_stream.wire.records import Record
from crl_stream.wire.topics import PROPOSALS, ROLLBACKS

log = logging.getLogger(__name__)

FILE_OF: Final = {ROLLBACKS: ROLLBACKS_FILE, PROPOSALS: PROPOSALS_FILE}
"""The file that each topic is written to."""


class TelemetryFiles:
    """The writer of ``rollback_events.jsonl`` and ``variant_proposals.jsonl``.

    Raises ``UsageError`` if another process is writing there, ``ConfigError`` if the folder cannot be used.  Its
    methods may be called from several tasks and threads.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._one_at_a_time = threading.Lock()
        self._closed = False
        try:
            self._lock = self._lock_folder()
            try:
                self._journals = {topic: Journal(folder / name) for topic, name in FILE_OF.items()}
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            raise ConfigError(
                f"The telemetry files cannot be written to {folder}: {error.strerror}.",
                hint="set telemetry.folder to another folder",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files and release the folder, after any running append."""
        with self._one_at_a_time:
            self._closed = True
            for journal in self._journals.values():
                journal.close()
            self._lock.release()

    def append(self, messages: Iterable[m.RollbackEvent | m.Proposal]) -> int:
        """Write the messages that are not in the files yet; return how many were written, once they are on disk.

        Raises ``Unavailable`` if that fails. Then no line is half written, and the same messages can be passed again.
        """
        lines: dict[str, list[Line]] = {topic: [] for topic in FILE_OF}
        for message in messages:
            if isinstance(message, m.RollbackEvent):
                line = Line(message.rollback_id, message.timestamp[:7], rollback_line(message))
                lines[ROLLBACKS].append(line)
            else:
                at = message.history[-1].timestamp if message.history else message.timestamp
                lines[PROPOSALS].append(Line(proposal_event_id(message), at[:7], proposal_line(message)))
        try:
            with self._one_at_a_time:
                if self._closed:
                    # A cancelled batch may still arrive here.
                    raise Unavailable("The telemetry files are closed.", hint="nothing is lost; the batch is retried")
                if any(lines.values()):
                    self._keep_folder()
                return sum(self._journals[topic].append(found) for topic, found in lines.items() if found)
        except OSError as error:
            raise Unavailable(
                f"The telemetry files in {self.folder} cannot be written: {error.strerror}.",
                hint="free some space or repair the disk; nothing is lost, because the events stay on their topics",
            ) from error

    def _lock_folder(self) -> HeldLock:
        """Create the folder if necessary, and lock it as its only writer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return HeldLock(
            self.folder / WRITER,
            taken=f"Another process writes the telemetry files of {self.folder}",
            hint="a folder has one writer: stop that process, or set telemetry.folder to another folder",
        )

    def _keep_folder(self) -> None:
        """Recreate and lock the folder if it was deleted."""
        if self._lock.is_there():
            return
        log.warning("%s was deleted or replaced; recreating it without its old content", self.folder)
        try:
            lock = self._lock_folder()
        except UsageError as error:
            raise Unavailable(error.message, hint=error.hint) from error
        self._lock.release()
        self._lock = lock

    async def deliver(self, topic: str, records: Sequence[Record]) -> int:
        """Write a batch of raw records of ``crl.rollbacks`` or ``crl.proposals``, off the event loop.

        Returns how many lines are new. A record that cannot be read was written by a newer release: it is logged and
        skipped, and stays on the topic.
        """
        messages = []
        for record in records:
            if record.value is None:
                continue
            decoded = decode_record(topic, record)
            if isinstance(decoded, Rejected):
                log.error("%s offset %d is not written to a file: %s", topic, record.offset, decoded.detail)
            elif not is_drill(decoded.message.agent_name):  # the reviews of the fleet count these lines
                messages.append(decoded.message)
        return await asyncio.to_thread(self.append, messages) if messages else 0
