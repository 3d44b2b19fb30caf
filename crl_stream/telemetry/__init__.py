"""The guide's telemetry files: one JSON line for every rollback and every step of a proposal.

    lines        builds lines and keeps them short; pure
    identities   remembers which lines exist, at 8 bytes each
    locks        one writer, one archiver, and brief exclusive access
    journal      one file: appends, repairs and reopens it
    files        both files of a folder, written from messages or records
    reading      reads them, newest first
    archive      moves old lines into compressed monthly files

A line is recognised by its ``event_id`` alone, never by its position in a topic.  So no event is written twice, even
if a worker or monitor crashes, the group loses its offsets, or the topic is recreated.
"""

from crl_stream.telemetry.files import TelemetryFiles
from crl_stream.telemetry.reading import read_proposals, read_rollbacks

__all__ = ["TelemetryFiles", "read_proposals", "read_rollbacks"]
