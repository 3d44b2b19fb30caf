"""Kills a real process with SIGKILL before a chosen line of the code under test."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any


def killed_before(step: int, work: Callable[[], None], files: tuple[str, ...]) -> bool:
    """Run ``work`` in a process and kill it before its ``step``-th line in ``files``; return False if it ended first.

    The contents of the process's buffers are lost with it, as in a real crash.
    """
    with warnings.catch_warnings():
        # Python warns about threads that a child does not inherit; this child needs none.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(_count_down(step, work, files))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, -signal.SIGKILL}, f"the work itself failed: {code}"
    return code == -signal.SIGKILL


def _count_down(step: int, work: Callable[[], None], files: tuple[str, ...]) -> int:
    left = step

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith(files):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    try:
        work()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.__stderr__)
        return 1
    return 0
