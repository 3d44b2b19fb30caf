"""The hook for LangGraph and LangChain, with the real packages and scripted models."""

from __future__ import annotations

import pytest

from joins.hook_running import names_in, report_of

CHECKS = "checks_langgraph.py"


@pytest.mark.parametrize("name", names_in(CHECKS))
def test_with_the_real_packages(name: str) -> None:
    report_of("hooks", CHECKS, name)
