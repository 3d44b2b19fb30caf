"""The guide's telemetry files: every rollback and every step of a proposal as a line of JSON.

    lines        what a line says, and how it is kept short; pure
    identities   which lines are there already, 8 bytes each
    locks        one writer, one archiver, and who touches the files right now
    journal      one file: appended, repaired, reopened
    files        both files of a folder, fed with messages or with records of the topics
    reading      what is in them, newest first
    archive      lines of long ago, moved into compressed monthly files

A line is recognised by its ``event_id`` alone, never by where in a topic it was read.  So whatever comes again is
written once: after a crash of the worker or of the monitor, when the group's offsets were lost, or the topic made anew.
"""

from crl_stream.telemetry.files import TelemetryFiles
from crl_stream.telemetry.reading import read_proposals, read_rollbacks

__all__ = ["TelemetryFiles", "read_proposals", "read_rollbacks"]
