"""The options of the hooks are named, typed and described in one place, and a wrong name does not go unnoticed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_tree import PACKAGE, ROOT, environment_of_this_checkout

from crl_stream.client import Client
from crl_stream.hooks.watching import Hook, Options
from crl_stream.settings import load_settings

FOLDER = ROOT / PACKAGE / "hooks"
HOOKS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in {"__init__", "watching"})
OWN = {"crewai": ["crew"]}
"""Options that only one hook has."""
WRONG = """
from crl_stream.client import Client
from crl_stream.hooks.watching import Hook

Hook(Client(), "support", "refunds", default="v1", judge=None, provider="p", model="m", counts_errors=False)
Hook(Client(), "support", "refunds", defualt="v1")
Hook(Client(), "support", "refunds", counts_errors="no")
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    flags = {"kafka.bootstrap_servers": "127.0.0.1:1", "client.cache_dir": str(tmp_path)}
    client = Client(load_settings(environment={}, flags=flags))
    yield client
    client.close(0.0)


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_passes_the_options_on_and_names_only_its_own(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    kinds = [kind for kind in tree.body if isinstance(kind, ast.ClassDef) and "Hook" in map(ast.unparse, kind.bases)]
    [makes] = [part for part in kinds[0].body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    assert len(kinds) == 1
    assert [one.arg for one in makes.args.kwonlyargs] == OWN.get(name, [])
    assert ast.unparse(makes.args.kwarg.annotation) == "Unpack[Options]"  # type: ignore[union-attr, arg-type]
    assert "**options)" in ast.unparse(makes)


def test_an_option_that_is_not_given_has_the_default_that_its_description_names(client: Client) -> None:
    hook = Hook(client, "support", "refunds")
    assert (hook.default, hook.fields, hook.counts_errors) == ("default", {}, True)
    hook = Hook(client, "support", "refunds", default="v1", provider="p", model="m", counts_errors=False)
    assert (hook.default, hook.fields, hook.counts_errors) == ("v1", {"provider": "p", "model": "m"}, False)


def test_a_misspelt_option_is_refused_with_the_names_that_exist(client: Client) -> None:
    with pytest.raises(TypeError) as raised:
        Hook(client, "support", "refunds", defualt="v1")  # type: ignore[call-arg]
    assert str(raised.value) == (
        "Hook has no option 'defualt'; all hooks have: default, judge, provider, model, counts_errors"
    )


def test_mypy_finds_misspelt_options_and_values_of_the_wrong_type(tmp_path: Path) -> None:
    program = tmp_path / "agent.py"
    program.write_text(WRONG, encoding="utf-8")
    words = ["--no-error-summary", "--follow-imports=silent", f"--cache-dir={tmp_path / 'cache'}", str(program)]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment_of_this_checkout(),
        check=False,
    )
    found = re.findall(r"agent\.py:(\d+): error: .*\[([a-z-]+)\]", checked.stdout)
    assert found == [("6", "call-arg"), ("7", "arg-type")], checked.stdout + checked.stderr


def test_the_docs_describe_every_option_of_all_hooks() -> None:
    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (`[^|]*`) \|", text[text.index("| option | meaning |") :].partition("\n\n")[0], re.MULTILINE
    )
    assert re.findall(r"`(\w+)[^`]*`", " ".join(rows)) == list(Options.__annotations__)
