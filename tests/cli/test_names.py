"""Every command, option, setting, variable and file that ``crl`` names in a help text or a hint exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer
from source_tree import ROOT, modules

from cli.program import Program, commands, groups
from crl_stream.cli.application import app
from crl_stream.settings import PROFILES
from crl_stream.settings.model import leaves
from crl_stream.settings.names import ALIASES, PREFIX
from crl_stream.settings.template import render

COMMANDS = {" ".join(path) for path in (*commands(), *groups())}
GROUPS = {" ".join(path) for path in groups()}
SETTINGS = set(leaves())
SECTIONS = {name.partition(".")[0] for name in SETTINGS}
VARIABLES = {PREFIX + name.replace(".", "_").upper() for name in SETTINGS} | {*ALIASES, "CRL_CONFIG"}
NO_COMMANDS = {"is", "of", "and"}
"""Words that may follow the program's name in a sentence."""


def options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from parameter.opts
    yield "--help"
    for inner in getattr(command, "commands", {}).values():
        yield from options(inner)


OPTIONS = set(options(typer.main.get_command(app)))


@cache
def texts() -> dict[str, str]:
    """Return every hint and help text by its location in the source, and the files that ``crl config init`` writes."""
    found = {f"crl.toml of {profile}": render(profile) for profile in PROFILES}
    for module in modules():
        for node in ast.walk(ast.parse(module.path.read_text(encoding="utf-8"))):
            for keyword in getattr(node, "keywords", []):
                if keyword.arg in {"hint", "help"}:
                    found[f"{module.name}:{keyword.value.lineno}"] = words_of(keyword.value)
    return found


def words_of(node: ast.expr) -> str:
    """Return the text of a string expression, with X for each inserted value."""
    if isinstance(node, ast.JoinedStr):
        return "".join(words_of(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return words_of(node.left) + words_of(node.right)
    return str(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, str) else "X"


def unknown(text: str) -> list[str]:
    """Return the names in ``text`` that do not exist."""
    found = []
    text = " ".join(text.split())
    for words in re.findall(r"\bcrl((?: [a-z][a-z-]*){1,2})", text):
        first, *rest = words.split()
        if first not in NO_COMMANDS and first not in COMMANDS:
            found.append(f"crl {first}")
        if first in GROUPS and rest and " ".join([first, *rest]) not in COMMANDS:
            found.append(f"crl {first} {rest[0]}")
    found += [option for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text) if option not in OPTIONS]
    found += [
        name
        for name in re.findall(r"(?<![\w./-])([a-z_]+\.[a-z_]+)\b(?![./(])", text)
        if name.partition(".")[0] in SECTIONS and name not in SETTINGS
    ]
    found += [name for name in re.findall(r"\bCRL_[A-Z_]+[A-Z]", text) if name not in VARIABLES]
    found += [
        name
        for name in re.findall(r"[\w./-]+\.(?:md|py|yml)\b|[\w.-]+/[\w./-]+\.(?:toml|jsonl)\b", text)
        if not (ROOT / name).is_file()
    ]
    return found


def test_the_rule_knows_a_wrong_name_when_it_sees_one() -> None:
    wrong = "crl stauts, `crl broker halt`, crl up --prot, kafka.partition, CRL_KAFKA_PARTITION, docs/nowhere.md"
    right = "crl status, `crl broker stop`, crl up --set kafka.partitions=4, CRL_KAFKA_PARTITIONS, topics/README.md"
    assert unknown(wrong) == [
        "crl stauts",
        "crl broker halt",
        "--prot",
        "kafka.partition",
        "CRL_KAFKA_PARTITION",
        "docs/nowhere.md",
    ]
    assert unknown(right) == []


def test_every_help_text_names_what_there_is(crl: Program) -> None:
    results = crl.run_all([[*path, "--help"] for path in sorted({*commands(), *groups()})])
    assert {r.call: unknown(r.out) for r in results if unknown(r.out)} == {}


def test_every_hint_and_every_line_of_the_first_settings_file_names_what_there_is() -> None:
    assert len(texts()) > 100
    assert {place: unknown(text) for place, text in texts().items() if unknown(text)} == {}
