"""The machine and software the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from crl_stream.broker.jars import KAFKA_VERSION
from crl_stream.broker.java import find_java
from crl_stream.errors import BrokerError


def describe() -> dict[str, str]:
    """Return a description of the machine and the software versions."""
    found = {
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kafka": f"{KAFKA_VERSION}, one node, embedded, 512 MB heap, on the same cores as everything else",
        "java": _java(),
    }
    if os.environ.get("CRL_BOOTSTRAP_SERVERS"):
        found["kafka"] = "the one that CRL_BOOTSTRAP_SERVERS names"
    return found | {name: version(name) for name in ("faust-streaming", "aiokafka", "msgspec")}


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _java() -> str:
    try:
        java = find_java()
    except BrokerError:
        return "none"
    done = subprocess.run([java.path, "-version"], capture_output=True, text=True, check=False)
    return (done.stderr or done.stdout).splitlines()[0].strip()
