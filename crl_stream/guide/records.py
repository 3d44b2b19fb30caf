"""A store's rollbacks and proposals, kept in the telemetry files, or in memory if the store has no folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crl_stream.core import messages as m
from crl_stream.guide.shapes import proposal_fields, rollback_fields
from crl_stream.telemetry import TelemetryFiles, read_proposals, read_rollbacks


class Records:
    """Writes each record once, and returns records as the guide's dictionaries.

    Reading needs no lock; a folder has only one writer.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._files: TelemetryFiles | None = None
        self._unwritten: list[m.RollbackEvent | m.Proposal] = []
        self._rollbacks: list[m.RollbackEvent] = []
        self._proposals: dict[str, m.Proposal] = {}
        """Latest version of each proposal, for a store without a folder."""

    @property
    def is_writer(self) -> bool:
        """Return whether this store is the folder's writer."""
        return self._files is not None

    def open(self) -> bool:
        """Become the folder's writer; return False if it already was or there is no folder.

        Raises ``UsageError`` while another process is the writer.
        """
        if self.folder is None or self._files is not None:
            return False
        self._files = TelemetryFiles(self.folder)
        return True

    def keep(self, events: Iterable[m.RollbackEvent | m.Proposal]) -> None:
        """Write these records and any that could not be written before; raises ``Unavailable`` if that fails."""
        self._unwritten += events
        if not self._unwritten:
            return
        if self.folder is None:
            for event in self._unwritten:
                if isinstance(event, m.RollbackEvent):
                    self._rollbacks.append(event)
                else:
                    self._proposals[event.proposal_id] = event
        else:
            self.open()
            assert self._files is not None
            self._files.append(self._unwritten)
        self._unwritten = []

    def rollbacks(self) -> list[dict[str, Any]]:
        """Return all rollbacks, newest first."""
        if self.folder is None:
            return [rollback_fields(event) for event in reversed(self._rollbacks)]
        return read_rollbacks(self.folder)

    def proposals(self) -> list[dict[str, Any]]:
        """Return the latest version of each proposal, newest first."""
        if self.folder is None:
            found = [proposal_fields(proposal) for proposal in self._proposals.values()]
            return sorted(found, key=lambda fields: (fields["timestamp"], fields["proposal_id"]), reverse=True)
        return read_proposals(self.folder)

    def close(self) -> None:
        """Write waiting records and release the folder."""
        try:
            self.keep(())
        finally:
            if self._files is not None:
                self._files.close()
                self._files = None
