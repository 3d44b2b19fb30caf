"""The guide's telemetry files: one JSON line for every rollback and every step of a proposal.

    lines        builds lines and keeps them short; pure
    identities   remembers which lines exist, in 8 bytes each
    locks        one writer, one archiver, and exclusive access for a moment
    journal      one file: appended, repaired, reopened
    files        both files of a folder, written from messages or records
    reading      reads them, newest first
    archive      moves old lines into compressed monthly files

A line is recognised by its ``event_id`` alone, never by its position in a topic.  So a repetition is not written again,
whether after a crash of the worker or the monitor, after a loss of the group's offsets, or after the topic was created
again.
"""

from crl_stream.telemetry.files import TelemetryFiles
from crl_stream.telemetry.reading import read_proposals, read_rollbacks

__all__ = ["TelemetryFiles", "read_proposals", "read_rollbacks"]
