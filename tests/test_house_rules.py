"""Rules for a public repository: what it must not contain, and what it must keep consistent."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli.program import Program
from installation import Installation
from long_tests import LONG
from source_tree import ROOT, committed_files, environment_of_this_checkout

import crl_stream

# Written in pieces, so that this file does not break the rule that it checks.
SLASH = "/"
MACHINE_PATHS = [
    SLASH + place + SLASH for place in ("work", "opt" + SLASH + "wheels", "root", "home" + SLASH + "[a-z]+", "Users")
]
REGISTRIES = [
    name + r"\." + domain
    for name, domain in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("maven", "org"),
        (r"maven\.apache", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        (r"deb\.debian", "org"),
        (r"golang", "org"),
    ]
]
MACHINE_PATH = re.compile("(?<![A-Za-z0-9_.<}])(?:" + "|".join(MACHINE_PATHS) + ")")
REGISTRY = re.compile("|".join(REGISTRIES))


def mentions(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in committed_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if match := pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match[0]}")
    return found


@pytest.mark.parametrize("name", ["work", "root", "home" + SLASH + "ada"])
def test_the_rule_knows_a_path_of_a_machine_when_it_sees_one(name: str) -> None:
    assert MACHINE_PATH.search("see " + SLASH + name + SLASH + "x")
    assert not MACHINE_PATH.search("a frame" + name + SLASH + "x")


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert mentions(MACHINE_PATH) == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert mentions(REGISTRY) == []


def test_no_file_is_left_in_conflict() -> None:
    assert mentions(re.compile("^" + "(<{7}|>{7}) ")) == []


def test_the_pins_are_the_pins_of_pyproject_toml() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "lock.py"), "--check"],
        capture_output=True,
        text=True,
        env=environment_of_this_checkout(),
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert crl_stream.__version__ == declared == importlib.metadata.version("crl-stream")


def test_what_is_tested_is_this_checkout_and_no_package_that_is_installed(tmp_path: Path) -> None:
    """Tests use this checkout even if another one is installed, as in a second clone or a worktree."""
    ask = [sys.executable, "-c", "import crl_stream; print(crl_stream.__file__)"]
    found = {crl_stream.__file__}
    for environment in (
        environment_of_this_checkout(),
        Program(tmp_path).environment,
        Installation("127.0.0.1:1", tmp_path).environment(),
    ):
        found.add(subprocess.check_output(ask, env=environment, cwd=tmp_path, text=True).strip())
    assert found == {str(ROOT / "crl_stream" / "__init__.py")}


def test_every_python_that_a_test_starts_is_told_what_to_run() -> None:
    starters = {"run", "Popen", "check_output", "create_subprocess_exec"}
    offenders = []
    for path in committed_files():
        if path.suffix == ".py" and path.is_relative_to(ROOT / "tests"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in starters:
                    words = {getattr(word, "attr", "") for argument in node.args for word in ast.walk(argument)}
                    if "executable" in words and "env" not in {keyword.arg for keyword in node.keywords}:
                        offenders.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert offenders == []


def test_the_programs_that_people_start_can_be_started() -> None:
    assert [name for name in ("scripts/bootstrap", ".ci/run") if not os.access(ROOT / name, os.X_OK)] == []


def test_every_test_that_is_called_long_is_there() -> None:
    """`make test` would run a renamed test, and nothing would explain why it has become slow."""
    gone = []
    for named in LONG:
        file, _, name = named.partition("::")
        path = ROOT / "tests" / file
        there = path.is_dir() if named.endswith("/") else path.is_file()
        gone += [] if there and (not name or f"def {name}" in path.read_text(encoding="utf-8")) else [named]
    assert gone == []


def test_every_test_that_the_mutation_run_selects_is_there() -> None:
    """pytest refuses to start if one of these tests has been moved, and `make mutation` then checks nothing."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    left_out = [text.removeprefix("--deselect=") for text in settings["pytest_add_cli_args"] if "::" in text]
    narrow = re.findall(r'"(tests/[\w/]+(?:\.py)?)"', (ROOT / "scripts" / "mutation.py").read_text(encoding="utf-8"))
    assert narrow
    gone = []
    for named in [*settings["pytest_add_cli_args_test_selection"], *left_out, *narrow]:
        file, _, name = named.partition("::")
        path, function = ROOT / file, name.partition("[")[0]
        there = path.is_dir() or (path.is_file() and f"def {function}" in path.read_text(encoding="utf-8"))
        gone += [] if there else [named]
    assert gone == []


def test_every_test_file_that_a_page_names_is_there() -> None:
    """Pages name the tests that prove their promises, so every test that a page names must exist."""
    there = {path.name for path in (ROOT / "tests").rglob("*.py")}
    gone = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for named in re.findall(r"(tests/[\w/]+\.py|\btest_\w+\.py)", page.read_text(encoding="utf-8")):
            exists = (ROOT / named).exists() if named.startswith("tests/") else named in there
            gone += [] if exists else [f"{page.relative_to(ROOT)}: {named}"]
    assert gone == []
