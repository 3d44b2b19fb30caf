"""The guide's telemetry files: one JSON line for every rollback and every step of a proposal.

    lines        builds lines and limits their length; pure
    identities   remembers which lines exist, at 8 bytes each
    locks        ensures one writer, one archiver, and brief exclusive access
    journal      appends to, repairs and reopens one file
    files        writes both files of a folder from messages or records
    reading      reads both files, newest lines first
    archive      moves old lines into compressed monthly files

A line is recognised by its ``event_id`` alone, never by its position in a topic.  So no event is written twice, even
if a worker or monitor crashes, the group loses its offsets, or the topic is recreated.
"""

from crl_stream.telemetry.files import TelemetryFiles
from crl_stream.telemetry.reading import read_proposals, read_rollbacks

__all__ = ["TelemetryFiles", "read_proposals", "read_rollbacks"]
