"""A worker that must not continue logs why: in two lines if the reason is known, otherwise with a traceback."""

from __future__ import annotations

import os
from typing import Any

import pytest

from crl_stream.errors import Unsafe
from crl_stream.worker.transport.consumer import Consumer


class Lines:
    """Replaces the consumer's log."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []

    def critical(self, text: str, *arguments: object, exc_info: Any = None) -> None:
        self.said.append((text % arguments, exc_info))


def leave(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Lines:
    def gone(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", gone)
    consumer: Any = object.__new__(Consumer)
    consumer.log = Lines()
    with pytest.raises(SystemExit):
        consumer.leave(error)
    lines: Lines = consumer.log
    return lines


@pytest.mark.parametrize("grouped", [False, True])
def test_a_reason_of_our_own_is_said_with_its_hint_and_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, grouped: bool
) -> None:
    error: Exception = Unsafe("it is another log", hint="adopt it")
    said = leave(monkeypatch, ExceptionGroup("writes", [error]) if grouped else error).said
    assert said == [("leaving without commit: it is another log", None), ("hint: adopt it", None)]


def test_a_bug_is_said_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ZeroDivisionError("a bug")
    assert leave(monkeypatch, error).said == [("leaving without commit: ZeroDivisionError('a bug')", error)]
