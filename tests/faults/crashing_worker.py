"""A worker that kills itself at one exact place: ``python crashing_worker.py PLACE NUMBER``.

The places are those between which a crash can leave the topics and the state at odds.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from crl_stream.settings import load_settings
from crl_stream.worker.monitor_stages import MonitorStage
from crl_stream.worker.producer import Producer
from crl_stream.worker.run import run_worker
from crl_stream.worker.table import TaskTable


def dies(function: Callable[..., Awaitable[Any]], *, before: bool, number: int) -> Callable[..., Awaitable[Any]]:
    calls = 0

    async def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if before and calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await function(*arguments, **options)
        if not before and calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapped


def main() -> int:
    place, number = sys.argv[1], int(sys.argv[2])
    if place == "after_outputs":
        MonitorStage._persist = dies(MonitorStage._persist, before=True, number=number)
    elif place == "after_rows":
        TaskTable.write = dies(TaskTable.write, before=False, number=number)
    elif place == "after_changelog":
        write = Producer.write
        dying = dies(write, before=False, number=number)

        async def write_changelog(self: Any, topic: str, *arguments: Any, **options: Any) -> Any:
            chosen = dying if topic.endswith("-changelog") else write
            return await chosen(self, topic, *arguments, **options)

        Producer.write = write_changelog
    else:
        raise SystemExit(f"no such place: {place}")
    return run_worker(load_settings())


if __name__ == "__main__":
    sys.exit(main())
