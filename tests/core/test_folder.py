"""Plugin folders: if a new file does not define what it must, the error says what is missing and in which file."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from crl_stream.bridges import kinds
from crl_stream.bridges.kinds import langfuse
from crl_stream.client import exploration
from crl_stream.client.exploration import uniform
from crl_stream.core.folder import Part, is_place, is_text, is_word, load, look_in, only_once, takes
from crl_stream.core.monitor import detector
from crl_stream.core.monitor.detector import Limit, detector_of
from crl_stream.core.monitor.detectors import success_rate
from crl_stream.core.proposer import rules
from crl_stream.core.proposer.rules import retire_underperforming_variant
from crl_stream.errors import IncompletePart
from crl_stream.notifiers import channels
from crl_stream.notifiers.channels import log

WHOLE = "NAME = 'latency'\nORDER = 4\ndef judge(window): ...\n"
SOME = (
    Part("NAME", "a word", is_word),
    Part("ORDER", "a whole number", is_place),
    Part("judge", "a function (window) -> bool", takes(1)),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a package without files."""
    found = tmp_path / f"package_{tmp_path.name}"
    found.mkdir()
    (found / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return found


def listed(folder: Path, **files: str) -> list[ModuleType]:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return load(folder.name, importlib.import_module(folder.name).__path__, SOME)


def test_each_file_of_the_folder_is_found_and_those_that_begin_with_an_underscore_are_not(folder: Path) -> None:
    found = listed(folder, zebra=WHOLE, ant=WHOLE, _words="")
    assert [module.__name__ for module in found] == [f"{folder.name}.ant", f"{folder.name}.zebra"]


@pytest.mark.parametrize(
    ("line", "wrong", "hint"),
    [
        ("del NAME", "defines no NAME", "NAME must be a word"),
        ("del judge", "defines no judge", r"judge must be a function \(window\) -> bool"),
        ("NAME = 'Late ncy'", "has NAME = 'Late ncy'", "NAME must be a word"),
        ("NAME = 7", "has NAME = 7", "NAME must be a word"),
        ("ORDER = 0", "has ORDER = 0", "ORDER must be a whole number"),
        ("ORDER = True", "has ORDER = True", "ORDER must be a whole number"),
        ("judge = 4", "has judge = 4", "judge must be a function"),
        ("def judge(): ...", "has judge = <function judge", "judge must be a function"),
        ("def judge(window, limit): ...", "has judge = <function judge", "judge must be a function"),
    ],
)
def test_what_a_file_lacks_is_said_with_its_path_the_part_and_what_it_must_be(
    folder: Path, line: str, wrong: str, hint: str
) -> None:
    with pytest.raises(IncompletePart, match=hint) as caught:
        listed(folder, latency=f"{WHOLE}{line}\n")
    assert caught.value.message.startswith(f"{folder / 'latency.py'} {wrong}")


def test_a_function_may_have_more_parameters_than_it_is_given_when_they_have_defaults(folder: Path) -> None:
    assert listed(folder, latency=f"{WHOLE}def judge(window, limit=3, *more, **others): ...\n")


def test_two_files_with_the_same_name_are_refused_and_both_are_told(folder: Path) -> None:
    modules = listed(folder, ant=WHOLE, zebra=WHOLE)
    with pytest.raises(IncompletePart, match=r"zebra\.py has NAME 'latency', as .*ant\.py has"):
        only_once(modules, "NAME", lambda module: module.NAME)


def test_a_file_that_cannot_be_imported_says_why(folder: Path) -> None:
    with pytest.raises(ImportError, match="no_such_thing"):
        listed(folder, latency="import no_such_thing\n")


@pytest.mark.parametrize(("value", "word"), [("a", True), ("a_1", True), ("", False), ("A", False), (None, False)])
def test_a_word_is_small_letters_digits_and_underscores(value: Any, word: bool) -> None:
    assert is_word(value) is word


def test_text_says_something() -> None:
    assert [is_text(value) for value in ("no success", " ", "", None)] == [True, False, False, False]


def test_another_folder_is_listed_too_when_it_is_told_before_the_package_is_imported(
    folder: Path, tmp_path: Path
) -> None:
    also = tmp_path / "also"
    also.mkdir()
    (also / "bee.py").write_text(WHOLE, encoding="utf-8")
    look_in(folder.name, str(also))
    found = listed(folder, ant=WHOLE)
    assert [Path(str(module.__file__)) for module in found] == [folder / "ant.py", also / "bee.py"]
    with pytest.raises(IncompletePart, match="is imported already"):
        look_in(folder.name, str(also))


# -- what the files of each folder must define -----------------------------------------------------
@pytest.mark.parametrize(
    ("parts", "part", "example"),
    [
        pytest.param(parts, part, example, id=f"{example.__name__.split('.')[-2]}-{part.name}")
        for parts, example in (
            (detector.PARTS, success_rate),
            (rules.PARTS, retire_underperforming_variant),
            (channels.PARTS, log),
            (exploration.parts(), uniform),
            (kinds.PARTS, langfuse),
        )
        for part in parts
    ],
)
def test_no_part_of_a_file_may_be_missing_or_of_another_kind(
    parts: tuple[Part, ...], part: Part, example: ModuleType, folder: Path
) -> None:
    source = Path(str(example.__file__)).read_text(encoding="utf-8")
    for number, (line, wrong) in enumerate(((f"del {part.name}", "defines no"), (f"{part.name} = None", "has"))):
        path = folder / f"file_{number}.py"
        path.write_text(f"{source}\n{line}\n", encoding="utf-8")
        with pytest.raises(IncompletePart, match=f"{path.name} {wrong} {part.name}") as caught:
            load(folder.name, [str(folder)], parts)
        assert caught.value.hint == f"{part.name} must be {part.what}"
        path.unlink()


# -- what a detector must define -------------------------------------------------------------------
def a_detector(**changed: Any) -> ModuleType:
    module = ModuleType("latency")
    module.__file__ = "latency.py"
    module.__dict__.update({part.name: getattr(success_rate, part.name) for part in detector.PARTS} | changed)
    return module


@pytest.mark.parametrize("sums", [(), ("n",), ("latency",), ["successes"], "successes"])
def test_a_detector_sums_what_outcomes_are_summed_by(sums: Any) -> None:
    [fits] = [part.fits for part in detector.PARTS if part.name == "SUMS"]
    assert not fits(sums)


@pytest.mark.parametrize(
    ("limit", "wrong"),
    [
        (Limit("Drop", "of it", 0.1), "LIMIT.name"),
        (Limit("drop", "of it", 1.1), "LIMIT.default"),
        (Limit("drop", "of it", 0.1, 0.2, 0.3), "LIMIT.default"),
        (Limit("drop", "", 0.1), "LIMIT.unit"),
    ],
)
def test_a_limit_is_a_name_a_unit_and_a_default_within_its_range(limit: Limit, wrong: str) -> None:
    with pytest.raises(IncompletePart, match=wrong):
        detector_of(a_detector(LIMIT=limit))


# -- what a bridge must define ---------------------------------------------------------------------
@pytest.mark.parametrize("pull", [None, object(), langfuse.PULL.read])
def test_a_bridge_that_is_polled_says_how(pull: Any) -> None:
    module = ModuleType("scores")
    module.__file__ = "scores.py"
    module.__dict__.update({part.name: getattr(langfuse, part.name) for part in kinds.PARTS} | {"PULL": pull})
    with pytest.raises(IncompletePart, match=r"scores\.py has ARRIVES = 'pull', but no usable PULL"):
        kinds.kind_of(module)
    module.__dict__.update(ARRIVES="push")
    assert kinds.kind_of(module).arrives == "push"
