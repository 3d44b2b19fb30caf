"""The compiled build: which modules it contains, that it reports being compiled, and that it writes the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest
from source_tree import ROOT, environment_of_this_checkout, modules
from test_architecture import PURE

from benchmarks import compiled
from crl_stream.compiled import is_compiled

SEEDS = 20
HASH = f"""
import hashlib, json, logging
from campaign.simulated.simulation import run_seed
from crl_stream.compiled import is_compiled

logging.disable(logging.ERROR)
found = {{}}
for seed in range({SEEDS}):
    broker = run_seed(seed).broker
    changelogs = {{place: changelog.records for place, changelog in broker.changelogs.items()}}
    written = repr((sorted(broker.topics.items()), sorted(changelogs.items()), sorted(broker.committed.items())))
    found[seed] = hashlib.sha256(written.encode()).hexdigest()
print(json.dumps({{"compiled": is_compiled(), "found": found}}))
"""
"""Hashes every topic and changelog, seed by seed, after crashes, stalls, commands, late scores and rubbish."""


def listed() -> list[str]:
    page = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names: list[str] = page["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["modules"]
    return names


def output(command: list[str]) -> str:
    environment = environment_of_this_checkout() | {"PYTHONHASHSEED": "0"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def build() -> None:
    if reason := compiled.why_not():
        pytest.skip(f"the compiled build is NOT TESTED here: {reason}")
    assert compiled.prepare() == ""


def test_only_pure_modules_are_compiled_and_each_is_there() -> None:
    parts = {str(module.path.relative_to(ROOT)): module.part for module in modules()}
    assert {parts[name] for name in listed()} <= PURE
    assert listed() == sorted(set(listed()))


def test_the_checkout_runs_its_sources_and_has_nothing_compiled_beside_them() -> None:
    assert not is_compiled()
    assert [path for path in (ROOT / "crl_stream").rglob("*") if path.suffix in {".so", ".pyd"}] == []


@pytest.mark.usefixtures("build")
def test_every_module_that_is_listed_is_compiled_and_the_program_says_so() -> None:
    names = [name.removesuffix(".py").replace("/", ".") for name in listed()]
    code = f"import importlib; print(*(importlib.import_module(name).__file__ for name in {names}))"
    assert all(not path.endswith(".py") for path in output(compiled.program(code)).split())
    say = "from crl_stream.cli import main; main(['--version'])"
    assert output(compiled.program(say)).rstrip().endswith(", compiled")
    assert not output([sys.executable, "-c", say]).rstrip().endswith(", compiled")


@pytest.mark.usefixtures("build")
def test_both_builds_write_the_same_bytes_whatever_happens() -> None:
    here, there = (json.loads(output(command)) for command in ([sys.executable, "-c", HASH], compiled.program(HASH)))
    assert (here["compiled"], there["compiled"]) == (False, True)
    assert len(here["found"]) == SEEDS
    assert here["found"] == there["found"]


def test_without_a_compiler_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CC", "no-such-compiler -O2")
    assert "no-such-compiler" in compiled.why_not()
