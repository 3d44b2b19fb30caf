"""Shows a contestant's progress: its process prints a count, and the parent process adds the time.

This file and ``job`` import only the standard library, because they also run in ``.venv-bench``.
"""

from __future__ import annotations

import os
import sys
import threading
import time

EVERY = 0.05
"""Seconds between two lines of output."""


class Meter:
    """Counts the outcomes that a job has processed."""

    def __init__(self) -> None:
        self.count = 0
        threading.Thread(target=self._tell, daemon=True).start()

    def _tell(self) -> None:
        while True:
            os.write(1, b"%d\n" % self.count)  # Faust redirects printed lines to its log
            time.sleep(EVERY)


class Course:
    """Parse a contestant's command line: where Kafka is, the contestant's own name, what to read and where to write."""

    def __init__(self) -> None:
        self.servers, self.name, self.source, self.sink, partitions, self.folder, seconds = sys.argv[1:8]
        self.partitions, self.snapshot_seconds = int(partitions), float(seconds)
