"""The structure of the package: pure layers at the bottom, one folder for Faust, no import cycles or long functions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from source_tree import (
    PACKAGE,
    ROOT,
    Module,
    circles,
    committed_files,
    environment_of_this_checkout,
    imported_names,
    modules,
    modules_run_by,
)

LAYERS = {"errors": 0, "core": 1, "wire": 2, "stages": 3}
ABOVE = 4
PURE = {"errors", "core", "wire", "stages"}
IMPURE = {"aiokafka", "asyncio", "faust", "logging", "mode", "os", "random", "time"}
MAPPED = (
    "",
    "bridges",
    "calibration",
    "cli",
    "cli/calibrate",
    "cli/dead_letters",
    "cli/proposals",
    "cli/rollbacks",
    "cli/sync",
    "client",
    "core",
    "core/mirroring",
    "core/monitor",
    "core/monitor/why_not",
    "core/overview",
    "core/proposer",
    "dashboard",
    "dashboard/pages",
    "explaining",
    "guide",
    "hooks",
    "kafka",
    "mirrors",
    "notifiers",
    "openfeature",
    "proposals",
    "stages",
    "telemetry",
    "trial",
    "wire",
    "worker",
    "worker/mirrors",
    "worker/stores",
    "worker/transport",
    "worker/views",
)
"""Folders whose ``__init__`` says what each file is for."""
LINES = 70
VAGUE = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}


def uses(module: Module, libraries: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in module.imports} & set(libraries)


def parts_used(module: Module) -> set[str]:
    """Return the parts of the package that a module imports."""
    names = (name.split(".") for name in module.imports)
    parts = {name[1] for name in names if name[0] == PACKAGE and len(name) > 1}
    return {part for part in parts if (ROOT / PACKAGE / part).is_dir() or (ROOT / PACKAGE / f"{part}.py").is_file()}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_walk_sees_the_modules_it_is_about() -> None:
    assert {module.part for module in modules()} > PURE


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import faust.app", {"faust.app"}),
        ("def f():\n    from os import path", {"os", "os.path"}),
        ("from crl_stream import wire", {"crl_stream", "crl_stream.wire"}),
        ("from . import row", {"crl_stream.core", "crl_stream.core.row"}),
        ("from ..wire.topics import COMMANDS", {"crl_stream.wire.topics", "crl_stream.wire.topics.COMMANDS"}),
    ],
)
def test_no_way_to_write_an_import_hides_it_from_the_walk(source: str, expected: set[str]) -> None:
    assert set(imported_names(source, "crl_stream.core")) == expected


def test_the_pure_layers_reach_no_clock_no_chance_no_environment_and_no_io() -> None:
    offenders = {m.name: uses(m, IMPURE) for m in modules() if m.part in PURE and uses(m, IMPURE)}
    assert offenders == {}


def test_a_layer_imports_only_from_itself_and_from_below() -> None:
    offenders = [
        f"{module.name} imports {PACKAGE}.{part}"
        for module in modules()
        for part in parts_used(module)
        if LAYERS.get(part, ABOVE) > LAYERS.get(module.part, ABOVE)
    ]
    assert offenders == []


def test_the_mappings_of_bridges_reach_nothing_but_the_pure_layers() -> None:
    bridges = [module for module in modules() if module.part == "bridges"]
    assert len(bridges) > 10
    assert {m.name: uses(m, IMPURE | {"aiohttp"}) for m in bridges if uses(m, IMPURE | {"aiohttp"})} == {}
    assert set().union(*(parts_used(module) for module in bridges)) <= {"bridges", "core", "sections", "wire"}


def test_only_the_worker_knows_faust() -> None:
    offenders = [m.name for m in modules() if m.part != "worker" and uses(m, {"faust", "mode"})]
    assert offenders == []


def test_no_module_imports_a_private_name_of_another() -> None:
    """No module uses a private name of another module."""
    offenders = [
        f"{module.name} imports {name}"
        for module in modules()
        for name in module.imports
        if name.split(".")[0] == PACKAGE and re.search(r"\._(?!_)", name)
    ]
    assert offenders == []


def test_nothing_stands_on_the_command_line() -> None:
    allowed = {"cli", "__main__"}
    offenders = [m.name for m in modules() if m.part not in allowed and "cli" in parts_used(m)]
    assert offenders == []


def test_the_parts_of_the_package_do_not_import_each_other_in_a_circle() -> None:
    uses = {module.part: set[str]() for module in modules()}
    for module in modules():
        uses[module.part] |= parts_used(module) - {module.part}
    assert circles(uses) == {}


def test_no_module_needs_itself_however_far_around() -> None:
    """An import counts wherever it is written, even in a function or only for the type checker."""
    uses = {module.name: modules_run_by(module) for module in modules()}
    assert circles(uses) == {}


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, set()),
        ({"a": {"b"}, "b": {"a"}}, {"a", "b"}),
        ({"top": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"a", "bottom"}, "bottom": set()}, {"a", "b", "c"}),
    ],
)
def test_a_circle_is_seen_however_long_it_is_and_nothing_else_is(uses: dict[str, set[str]], expected: set[str]) -> None:
    assert circles(uses).keys() == expected


def test_a_package_that_lists_its_folder_needs_what_is_in_it() -> None:
    [channels] = [module for module in modules() if module.name == "crl_stream.notifiers.channels"]
    assert {"crl_stream.notifiers.channels.webhook", "crl_stream.notifiers.notice"} <= modules_run_by(channels)


@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        ("crl_stream", {"aiokafka", "faust", "msgspec", "pydantic", "crl_stream.core"}),
        ("crl_stream.core.monitor.step", {"aiokafka", "asyncio", "faust", "mode", "random"}),
        ("crl_stream.wire.codec", {"aiokafka", "asyncio", "faust", "mode", "random"}),
        ("crl_stream.stages.monitor", {"aiokafka", "asyncio", "faust", "mode", "random"}),
        (
            "crl_stream.client",
            {"aiohttp", "croniter", "faust", "mode", "psutil", "pydantic", "rich", "typer", "crl_stream.bridges"},
        ),
        ("crl_stream.client", {"crl_stream.core.policy", "crl_stream.settings", "crl_stream.wire.codec"}),
        ("crl_stream.settings.for_clients", {"pydantic", "crl_stream.core.policy", "crl_stream.notifiers"}),
        ("crl_stream.bridges.kinds", {"aiokafka", "aiohttp", "asyncio", "faust", "mode"}),
        ("crl_stream.cli", {"faust", "mode"}),
        # Modules that the program imports before it knows which command to run slow down every command.
        ("crl_stream.cli", {"aiohttp", "aiokafka", "asyncio", "msgspec", "pydantic", "ssl", "crl_stream.settings"}),
    ],
)
def test_importing_a_part_brings_nothing_along_that_it_must_not_know(imported: str, unwanted: set[str]) -> None:
    """The other tests read the source; this one asks a fresh interpreter what is really imported, even indirectly."""
    program = f"import sys, {imported}; print(*sorted(sys.modules.keys() & {unwanted!r}))"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment_of_this_checkout(),
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_no_function_is_too_long_to_be_read_at_once() -> None:
    offenders = {}
    for path in committed_files():
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    said = node.body[0] if ast.get_docstring(node) else None
                    words = 0 if said is None else (said.end_lineno or said.lineno) - said.lineno + 1
                    lines = (node.end_lineno or node.lineno) - node.lineno + 1 - words
                    if lines > LINES:
                        offenders[f"{named(path)}::{node.name}"] = lines
    assert offenders == {}


def test_no_module_has_a_name_that_could_hold_anything() -> None:
    names = {named(path): {path.stem, *path.relative_to(ROOT).parts[:-1]} for path in committed_files()}
    assert [name for name, words in names.items() if name.endswith(".py") and words & VAGUE] == []


def test_every_module_says_what_it_is() -> None:
    offenders = [m.name for m in modules() if not m.path.read_text(encoding="utf-8").startswith(('"""', 'r"""'))]
    assert offenders == []


def mapped(text: str) -> list[str]:
    """Return the names in the map of a docstring; each starts a line, or a part of a line after ``; ``."""
    heads = {line: found[1] for line in text.splitlines() if (found := re.match(r" *(\w+)/?  +\S", line))}
    return [*heads.values(), *(name for line in heads for name in re.findall(r"; (\w+): ", line))]


@pytest.mark.parametrize("folder", MAPPED)
def test_the_map_of_a_folder_names_every_file_in_it_once(folder: str) -> None:
    path = ROOT / PACKAGE / folder
    there = {file.stem for file in path.glob("*.py")} - {"__init__", "__main__"}
    there |= {file.parent.name for file in path.glob("*/__init__.py")}
    text = ast.get_docstring(ast.parse((path / "__init__.py").read_text(encoding="utf-8")), clean=False)
    assert sorted(mapped(text or "")) == sorted(there)
