"""The examples in the docstrings of the engine's arithmetic are correct."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest
from builders import an_invocation

from crl_stream.core import drills
from crl_stream.core.monitor import evidence, learning, likelihood, promise, rules, scorecard
from crl_stream.core.monitor.detectors import avg_reward, error_rate, success_rate


@pytest.mark.parametrize(
    "module",
    [drills, learning, likelihood, evidence, promise, rules, scorecard, success_rate, avg_reward, error_rate],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_the_examples_in_the_docstrings_are_true(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module, extraglobs={"an_invocation": an_invocation}, raise_on_error=False)
    assert failed == 0
    assert tried > 0
