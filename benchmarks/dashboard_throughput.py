"""Compares how fast a worker catches up without viewers, and with five of them."""

from __future__ import annotations

import contextlib
import http.cookiejar
import os
import signal
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final

from confluent_kafka import Producer

from benchmarks.dashboard_processes import viewers
from benchmarks.latency_load import PLACEHOLDER
from benchmarks.processes import cpu_seconds
from benchmarks.running import Failed, stop
from benchmarks.spread import Spread, ratio
from benchmarks.stack import Stack, note, worker
from crl_stream.cli.processes import CRL
from crl_stream.dashboard.web.doors import BASE, doors_of, link
from crl_stream.wire.topics import INVOCATIONS, Topics
from crl_stream.worker_views import ask, views_url

VIEWERS: Final = 5
ALONE, AGAIN = "no viewer", "no viewer, again"
APART, WITHIN = f"{VIEWERS} viewers of crl dashboard --web", f"{VIEWERS} viewers of the worker"
SETTINGS: Final = (ALONE, AGAIN, APART, WITHIN)
"""The worker's own viewers come last, because it goes on reading for them for minutes."""
WALL, CPU = "outcomes/s", "outcomes per CPU-second"
WARM_UP: Final = 5_000
LIMIT_SECONDS: Final = 60.0

Record = tuple[int, str, str]


def compare(stack: Stack, rounds: int, burst: int, background: Sequence[Record]) -> dict[str, Any]:
    """Return the rates in each setting, and their ratios to the worker without viewers of the same round."""
    rates: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    heard: dict[str, int] = {}
    for number in range(rounds):
        note(f"  catching up, round {number + 1} of {rounds}")
        with worker(stack) as process:
            _caught_up(stack, process, background, WARM_UP)
            for name, found in rates.items():
                with ExitStack() as watched:
                    if name in {APART, WITHIN}:
                        url = watched.enter_context(_apart(stack)) if name == APART else views_url(stack.settings)
                        watched.enter_context(viewers(f"{url}{BASE}/", enter(stack, url), VIEWERS, heard))
                    found.append(_caught_up(stack, process, background, burst))
    return {
        "catching up": {name: {what: spread_of(found, what) for what in (WALL, CPU)} for name, found in rates.items()},
        "catching up, ratio to no viewer": ratios(rates),
        f"catching up, what {VIEWERS} viewers of the worker received": heard,
    }


def ratios(rates: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return the ratio of each setting's rates to those without viewers in the same round."""
    found: dict[str, Any] = {}
    for name in (AGAIN, APART, WITHIN):
        pairs = {what: ratio(rates[name], rates[ALONE], what) for what in (WALL, CPU)}
        found[name] = {what: shown(one) for what, one in pairs.items() if one is not None}
    return found


def spread_of(found: Sequence[dict[str, float]], what: str) -> dict[str, float]:
    """Return the spread of a figure as the report shows it."""
    spread = Spread.of(one[what] for one in found)
    return {} if spread is None else shown(spread)


def shown(spread: Spread) -> dict[str, float]:
    """Return a spread under the names that the report knows."""
    return {"min": spread.least, "median": spread.median, "max": spread.most}


def enter(stack: Stack, url: str) -> str:
    """Use a one-time address and return the session's cookie."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar), _Stay()
    )
    with contextlib.suppress(urllib.request.HTTPError), opener.open(link(stack.settings, url, "bench"), timeout=30.0):
        pass
    for cookie in jar:
        if cookie.name == doors_of(stack.settings).cookie:
            return f"{cookie.name}={cookie.value}"
    raise Failed("the dashboard began no session")


class _Stay(urllib.request.HTTPRedirectHandler):
    """The answer with the cookie is enough; the page that it leads to is not wanted."""

    def redirect_request(self, *_: Any) -> None:
        return None


@contextlib.contextmanager
def _apart(stack: Stack) -> Iterator[str]:
    """Run ``crl dashboard --web`` and yield its address."""
    command = [*CRL]
    for name, value in stack.session.flags.items():
        command += ["--set", f"{name}={value}"]
    command += ["--set", f"kafka.bootstrap_servers={stack.settings.kafka.bootstrap_servers}", "--set", "web.port=0"]
    process = subprocess.Popen(
        [*command, "dashboard", "--web"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline().decode().strip()
        if BASE not in line:
            raise Failed("crl dashboard --web did not start")
        yield line.partition(BASE)[0]
    finally:
        stop(process)
        process.stdout.close()


def _caught_up(
    stack: Stack, process: subprocess.Popen[bytes], background: Sequence[Record], count: int
) -> dict[str, float]:
    """Return how fast the worker folds outcomes that were appended while it stood still."""
    before = _applied(stack)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        _append(stack, background, count)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    began, used = time.perf_counter(), cpu_seconds(process.pid)
    while (done := _applied(stack) - before) < count:
        if time.perf_counter() - began > LIMIT_SECONDS:
            raise Failed(f"the worker folded {done:,} of {count:,} outcomes within {LIMIT_SECONDS:.0f} s")
        time.sleep(0.05)
    seconds = time.perf_counter() - began
    return {WALL: count / seconds, CPU: count / max(0.01, cpu_seconds(process.pid) - used)}


def _applied(stack: Stack) -> int:
    applied: int = ask(stack.settings, "/api/worker", LIMIT_SECONDS)["counters"]["applied"]
    return applied


def _append(stack: Stack, background: Sequence[Record], count: int) -> None:
    """Append outcomes and wait for the broker."""
    kafka, unique = stack.settings.kafka, uuid.uuid4().hex[:6].encode()
    topic = Topics(kafka.topic_prefix)(INVOCATIONS)
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 20, "acks": "all", "log_level": 0,
         "queue.buffering.max.messages": 1_000_000}
    )  # fmt: skip
    for number in range(count):
        place, key, value = background[number % len(background)]
        producer.produce(topic, value.encode().replace(PLACEHOLDER, b"%s%06d" % (unique, number)), key.encode(), place)
        if number % 1_000 == 0:
            producer.poll(0)
    if left := producer.flush(30.0):
        raise Failed(f"{left:,} outcomes were not appended")
