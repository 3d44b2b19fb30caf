"""The hook for CrewAI, with the real package and a scripted model."""

from __future__ import annotations

import pytest

from joins.hook_running import names_in, report_of

CHECKS = "checks_crewai.py"


@pytest.mark.parametrize("name", names_in(CHECKS))
def test_with_the_real_packages(name: str) -> None:
    report_of("hooks-crewai", CHECKS, name)
