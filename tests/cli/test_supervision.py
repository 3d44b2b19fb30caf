"""A process that ends or stops responding is reported, and restarted if a restart can help."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from crl_stream.broker.recorded import Recorded, recorded
from crl_stream.cli import supervision
from crl_stream.cli.supervision import LONGEST_PAUSE, STEADY_SECONDS, KeptProcess, Patience, Silence

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


def test_what_fails_at_its_start_stays_down_longer_each_time_and_what_has_lived_does_not() -> None:
    patience = Patience()
    assert [patience.pause_after(2.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE]
    assert [patience.pause_after(lived) for lived in (STEADY_SECONDS, 0.5, 2 * STEADY_SECONDS)] == [1, 2, 1]


# -- processes that end ----------------------------------------------------------------------------
class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(supervision.time, "monotonic", lambda: self.now)


class Ends:
    """A process that has ended with a code, or is still running."""

    def __init__(self, code: int | None) -> None:
        self.code, self.killed = code, False

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.killed, self.code = True, -9

    def wait(self, *_: float) -> int | None:
        return self.code


def a_kept(codes: list[int | None], *, needed: bool = True, name: str = "monitor") -> tuple[KeptProcess, list[Ends]]:
    started: list[Ends] = []

    def start() -> Any:
        started.append(Ends(codes[len(started)]))
        return started[-1], Recorded(1, 0.0)

    return KeptProcess(name, start, lambda: True, why="the lines above say", needed=needed), started


@pytest.mark.parametrize("code", [0, 1, 69, -9, -15, 70])
def test_a_monitor_that_ends_is_started_again_and_that_is_said(
    code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    kept, started = a_kept([code, None])
    assert kept.keep() is None
    assert "restarted in 1 s" in capsys.readouterr().err
    clock.now += 0.9
    assert kept.keep() is None
    assert len(started) == 1
    clock.now += 0.2
    assert kept.keep() is None
    assert len(started) == 2


@pytest.mark.parametrize("code", [2, 78])
def test_a_monitor_whose_settings_or_topics_do_not_fit_ends_the_program_with_its_code(
    code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Clock(monkeypatch)
    kept, _ = a_kept([code])
    assert kept.keep() == code
    assert "a restart would not fix that" in capsys.readouterr().err


def test_a_monitor_that_is_unsafe_three_times_in_a_row_ends_the_program_and_one_that_lived_between_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    kept, started = a_kept([70, 70, 70])
    codes = []
    for _ in range(6):
        codes.append(kept.keep())
        clock.now += 5.0
    assert (codes[-2:], len(started)) == ([70, 70], 3)
    steady, started = a_kept([None] * 5)
    for _ in range(4):
        clock.now += STEADY_SECONDS + 1
        started[-1].code = 70
        assert steady.keep() is None
        clock.now += 1.0
        assert steady.keep() is None
    assert len(started) == 5


@pytest.mark.parametrize("code", [2, 78])
def test_what_runs_beside_the_monitor_never_ends_the_program_and_is_tried_once_a_minute_where_a_person_is_needed(
    code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    kept, started = a_kept([code] * 10, needed=False, name="notifier")
    for _ in range(180):
        assert kept.keep() is None
        clock.now += 1.0
    assert 3 <= len(started) <= 4
    assert "that may need an operator" in capsys.readouterr().err


# -- processes that do not respond -----------------------------------------------------------------
class Said:
    def __init__(self) -> None:
        self.seconds = 0.0

    def silent_seconds(self) -> float:
        return self.seconds


def test_silence_is_said_once_then_its_end_and_after_the_limit_it_is_time_for_a_new_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pulse: Any = Said()
    silence, me = Silence("Kafka", (10.0, 60.0), pulse), recorded(os.getpid())
    for seconds in (0.0, 9.0, 11.0, 20.0, 59.0, 1.0):
        pulse.seconds = seconds
        assert silence.is_too_long(me) is False
    said = capsys.readouterr().err
    assert said.count("is running but does not answer") == said.count("Kafka answers again") == 1
    pulse.seconds = 60.0
    assert silence.is_too_long(me) is True


def test_a_paused_process_is_told_from_one_that_hangs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pulse = Said()
    pulse.seconds = 11.0
    with subprocess.Popen(SLEEP) as process:
        process.send_signal(signal.SIGSTOP)
        me = recorded(process.pid)
        until = time.monotonic() + 20.0
        while not me.is_paused() and time.monotonic() < until:
            time.sleep(0.01)
        Silence("monitor", (10.0, 60.0), pulse).is_too_long(me)  # type: ignore[arg-type]
        process.kill()
    assert f"kill -CONT {process.pid}" in capsys.readouterr().err


def test_a_process_that_is_silent_for_too_long_is_killed_but_not_while_what_it_needs_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    kept, started = a_kept([None, None])
    kept._silence.pulse = SimpleNamespace(  # type: ignore[assignment]
        silent_seconds=lambda: 1_000.0, start=lambda: None, stop=lambda: None
    )
    assert kept.keep(ask=False) is None
    assert started[0].killed is False
    kept.keep()
    assert started[0].killed is True
    kept.keep()
    clock.now += 1.1
    kept.keep()
    assert len(started) == 2


def test_a_process_that_cannot_be_started_is_tried_again_later_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, started = Clock(monkeypatch), list[Ends]()

    def start() -> Any:
        if len(started) == 1:
            started.append(Ends(None))
            raise OSError(errno.ENOSPC, "No space left on device")
        started.append(Ends(1 if not started else None))
        return started[-1], Recorded(1, 0.0)

    kept = KeptProcess("monitor", start, lambda: True, why="the lines above say", needed=True)
    for _ in range(6):
        assert kept.keep() is None
        clock.now += 1.1
    assert "monitor cannot be started: No space left on device; next try in 2 s" in capsys.readouterr().err
    assert len(started) == 3
