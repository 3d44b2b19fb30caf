"""The hook for pydantic-ai, with the real package and its function models."""

from __future__ import annotations

import pytest

from joins.hook_running import names_in, report_of

CHECKS = "checks_pydantic_ai.py"


@pytest.mark.parametrize("name", names_in(CHECKS))
def test_with_the_real_packages(name: str) -> None:
    report_of("hooks", CHECKS, name)
