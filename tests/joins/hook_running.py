"""Runs the checks of one hook with pytest in the environment of its framework, and reports each as a test of its own.

The checks are in ``hook_checks/``; they import a framework that the environment of the other tests does not have.
"""

from __future__ import annotations

import ast
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from source_tree import ROOT, environment_of_this_checkout

from joins.environments import python_of

SECONDS = 270.0
"""Time limit for all checks of a file."""
CHECKS = Path(__file__).parent / "hook_checks"


def names_in(file: str) -> list[str]:
    """Return the names of the checks in a file."""
    tree = ast.parse((CHECKS / file).read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def _run(environment: str, file: str, folder: str, report: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(str(python_of(environment)), "-m", "pytest", str(CHECKS / file), "-v", "--noconftest"),
            *("-c", "/dev/null", "--rootdir", str(ROOT), "-p", "no:cacheprovider", f"--junitxml={report}"),
        ],
        capture_output=True,
        text=True,
        env=environment_of_this_checkout() | {"HOME": folder, "OTEL_SDK_DISABLED": "true"},
        cwd=folder,
        timeout=SECONDS,
        check=False,
    )


@cache
def _reports(environment: str, file: str) -> dict[str, str]:
    """Run a file of checks once; return what is wrong with each, or nothing if it passed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        try:
            done = _run(environment, file, folder, report)
        except subprocess.TimeoutExpired as late:
            return {"": f"{file} did not finish within {late.timeout:.0f} s:\n{(late.stdout or b'').decode()[-4000:]}"}

        if not report.exists():
            return {"": done.stdout[-4000:] + done.stderr[-4000:]}
        found = {}
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest has written it
            wrong = [part for part in case if part.tag in {"failure", "error", "skipped"}]
            found[str(case.get("name"))] = "\n".join(part.text or part.get("message", "") for part in wrong)
        return found


def report_of(environment: str, file: str, name: str) -> None:
    """Fail with the report of a check if it did not pass."""
    found = _reports(environment, file)
    wrong = found[name] if name in found else f"{name} did not run: {found.get('', sorted(found))}"
    if wrong:
        pytest.fail(wrong, pytrace=False)
