"""Reads the kernel's figures for a process: the CPU time of all its threads, and its peak resident memory."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of all threads of a process so far, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_megabytes(pid: int) -> float:
    """Return the peak resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1_000
    return float("nan")


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process now."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_000
    return float("nan")


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that are still running."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def give_way() -> None:
    """Leave the processor to everybody else, as a program on another machine would."""
    os.nice(19)
    try:
        # Where the kernel shares time between sessions, the priorities of processes count only within their session.
        Path("/proc/self/autogroup").write_text("19", encoding="ascii")
    except OSError:
        return
