"""The guide's test commands, word for word, run from the root of the repository."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys

import pytest
from source_tree import ROOT, environment_of_this_checkout

from guide.blocks import block

COMMANDS = [line for line in block("Testing", "bash").text.splitlines() if line.startswith("python ")]
TESTS = ROOT / "tests" / "crl" / "test_safety.py"
CLASSES = {
    "Safety monitor decision logic": "TestSafetyMonitor",
    "Degradation detection thresholds": "TestDegradationDetection",
    "Rollback execution and logging": "TestRollbackManager",
    "Proposal generation and filtering": "TestVariantProposer",
    "End-to-end safety workflow": "TestEndToEnd",
}
"""The topics that the guide says its tests cover, each with the test class that covers it."""


def run(command: str) -> str:
    """Run a command with this Python, and return what unittest reports."""
    _, *arguments = shlex.split(command)
    result = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment_of_this_checkout(),
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


def test_these_are_the_commands_of_the_guide() -> None:
    assert COMMANDS == [
        "python tests/crl/test_safety.py",
        "python -m unittest tests.crl.test_safety.TestSafetyMonitor",
        "python tests/crl/test_safety.py -v",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_guide_runs_and_passes(command: str) -> None:
    said = run(command)
    assert re.search(r"^OK$", said, re.MULTILINE)
    if command.endswith("-v"):
        assert all(f".{name}." in said for name in CLASSES.values())
    if command.endswith("TestSafetyMonitor"):
        ran = int(re.findall(r"Ran (\d+) tests", said)[0])
        whole = int(re.findall(r"Ran (\d+) tests", run(COMMANDS[0]))[0])
        assert 0 < ran < whole


def test_each_of_the_five_things_that_they_cover_has_a_class() -> None:
    bullets = re.findall(r"^- (.+)$", _section("Testing"), re.MULTILINE)
    assert bullets == list(CLASSES)
    tree = ast.parse(TESTS.read_text(encoding="utf-8"))
    said = {node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, ast.ClassDef)}
    for bullet, name in CLASSES.items():
        assert said[name].split(":")[0].rstrip(".").casefold() in {bullet.casefold(), "the whole safety workflow"}


def _section(title: str) -> str:
    from guide.world import GUIDE

    text = GUIDE.read_text(encoding="utf-8")
    start = text.index(f"\n## {title}\n")
    return text[start : text.index("\n## ", start + 1)]
