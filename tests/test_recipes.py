"""The recipes in CONTRIBUTING work: the files that they show are found, checked and used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import ROOT, environment_of_this_checkout

BLOCK = re.compile(r"^<!-- recipe: (?P<path>\S+) -->\n```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPES = {
    Path(found["path"]): found["code"]
    for found in BLOCK.finditer((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
}
"""The code of each recipe, by the path of its file within the package."""
LOOK = """
import sys
from typing import Literal, get_args
from crl_stream.core.folder import look_in
look_in(sys.argv[1], sys.argv[2])
from crl_stream.core.messages import parts, snapshots
# Add the words of the rule recipe to the contract before anything reads it.
parts.ProposalType = snapshots.ProposalType = Literal[*get_args(parts.ProposalType), "retire_idle_variant"]
snapshots.Trigger = Literal[*get_args(snapshots.Trigger), "idle"]
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--import-mode=importlib", *sys.argv[3:]]))
"""


def python(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = environment_of_this_checkout()
    environment["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'tests'}"
    return subprocess.run(
        [sys.executable, *words], input=text, capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )


def test_every_folder_of_one_file_each_has_its_recipe() -> None:
    folders = {path.parent for path in RECIPES}
    using = {
        path.parent.relative_to(ROOT / "crl_stream")
        for path in (ROOT / "crl_stream").rglob("__init__.py")
        if "core.folder import" in path.read_text(encoding="utf-8")
    }
    assert folders == using


@pytest.mark.parametrize("path", RECIPES, ids=str)
def test_what_a_recipe_shows_passes_the_linter(path: Path) -> None:
    """Copied code must work without being fixed first."""
    name = str(ROOT / "crl_stream" / path)
    for action in (["check", "--quiet"], ["format", "--quiet", "--check"]):
        checked = python("-m", "ruff", *action, "--stdin-filename", name, "-", text=RECIPES[path])
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("path", RECIPES, ids=str)
def test_what_a_recipe_shows_is_found_in_its_folder_and_does_what_it_says(path: Path, tmp_path: Path) -> None:
    (tmp_path / path.name).write_text(RECIPES[path], encoding="utf-8")
    package = ".".join(("crl_stream", *path.parent.parts))
    program = str(ROOT / "tests" / "recipes" / f"{path.parent.name}.py")
    done = python("-c", LOOK, package, str(tmp_path), program)
    assert done.returncode == 0, done.stdout


def test_a_detector_of_a_recipe_has_the_properties_that_all_have(tmp_path: Path) -> None:
    [path] = [path for path in RECIPES if path.parent.name == "detectors"]
    (tmp_path / path.name).write_text(RECIPES[path], encoding="utf-8")
    chosen = f"{path.stem} or written_out or suspect or another_engine"
    tests = str(ROOT / "tests" / "core" / "test_detectors.py")
    done = python("-c", LOOK, "crl_stream.core.monitor.detectors", str(tmp_path), tests, "-vv", "-k", chosen)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(f"[{path.stem}] PASSED") > 10
