"""Mutate the decision modules, one condition at a time, and check whether a quick test notices.

    mutation.py                      the modules in ``DECIDES`` and ``NARROW``
    mutation.py verdict window       these modules of crl_stream/core/monitor
    mutation.py bridges/scale        this module of crl_stream

mutmut makes the mutants and runs the tests that ``NARROW`` names for the module, or else those that ``[tool.mutmut]``
in pyproject.toml selects.  Its operators change numbers, comparisons and connectives.  Our own operators, below, remove
a condition, half of a condition, an assignment or a call.  mutmut's mutants of texts and arguments are left out: other
tests compare the published texts, and mypy checks the arguments.

The exit status is 1 if a mutant survives that ``tests/core/surviving_mutants.toml`` does not explain, if an explained
mutant no longer survives, or if the run was interrupted.

This is not ``make faults ARGS=mutants``, which removes guards from whole stages and runs the campaign against them.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import libcst as cst
import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "build" / "mutation"
"""The folder in which mutmut works.  Every run recreates the folder, so results of earlier code are never reused."""
EXPLAINED: Final = ROOT / "tests" / "core" / "surviving_mutants.toml"
PACKAGE: Final = "crl_stream"
USUAL: Final = "core/monitor"
"""The folder of modules that are named without a folder."""
DECIDES: Final = (
    "step",
    "protection",
    "lifecycle",
    "decision_matrix",
    "targets",
    "verdict",
    "promise",
    "rollout",
    "rollout_orders",
    "staging",
    "verification",
    "common_cause",
    "fall",
    "tags",
    "witnesses",
    "scorecard",
)
_BRIDGES: Final = ("tests/bridges",)
_GUARDRAILS: Final = ("tests/core/test_guardrail_decisions.py", "tests/core/test_guardrails.py")
_RUNTIMES: Final = ("tests/core/test_adoption.py", "tests/core/test_many_runtimes.py", "tests/core/test_snapshot.py")
_WEIGHTS: Final = ("tests/client/test_weights.py", "tests/wire/test_weights.py", "tests/wire/test_partitioner.py")
_MIRRORS: Final = ("tests/core/test_mirroring.py",)
NARROW: Final[dict[str, tuple[str, ...]]] = {
    "guardrail": _GUARDRAILS,
    "guardrails": _GUARDRAILS,
    "gauges": ("tests/core/test_gauges.py",),
    "judges": ("tests/core/test_judges.py",),
    "adoption": _RUNTIMES,
    "runtimes": _RUNTIMES,
    "filing": ("tests/core/test_filing.py", "tests/core/test_filing_reference.py"),
    "core/proposer/filed": ("tests/core/proposals/test_external.py",),
    "client/sessions": ("tests/client/test_sessions.py",),
    "wire/weights": _WEIGHTS,
    "wire/partitioner": _WEIGHTS,
    "wire/runtime_codec": ("tests/wire/test_codec.py", "tests/wire/test_examples.py"),
    "bridges/agents": _BRIDGES,
    "bridges/mapping": _BRIDGES,
    "bridges/names": _BRIDGES,
    "bridges/otlp_json": _BRIDGES,
    "bridges/otlp_proto": _BRIDGES,
    "bridges/polling": _BRIDGES,
    "bridges/protobuf": _BRIDGES,
    "bridges/scale": _BRIDGES,
    "bridges/scores": _BRIDGES,
    "bridges/kinds/cloudevents": _BRIDGES,
    "bridges/kinds/langfuse": _BRIDGES,
    "bridges/kinds/langsmith": _BRIDGES,
    "bridges/kinds/otlp": _BRIDGES,
    "core/mirroring/label": _MIRRORS,
    "core/mirroring/refs": _MIRRORS,
    "core/mirroring/store": _MIRRORS,
    "core/mirroring/wants": _MIRRORS,
}
"""Modules that few tests are about, and these tests, so that each mutant takes a second."""
PROCESSES = 2
UNFINISHED: Final = ("not checked", "check was interrupted by user")


class Survivor(NamedTuple):
    """A mutant that no test noticed.  Its code identifies it, because line numbers change."""

    module: str
    function: str
    code: str
    becomes: str


# -- our operators -----------------------------------------------------------------------------------
def remove_operand(node: cst.BooleanOperation) -> Iterator[cst.BaseExpression]:
    """Replace ``a and b`` with ``a``, and with ``b`` unless ``a`` is itself a compound condition."""
    brackets = {"lpar": [cst.LeftParen()], "rpar": [cst.RightParen()]}
    yield node.left.with_changes(**brackets)
    if not isinstance(node.left, cst.BooleanOperation):
        yield node.right.with_changes(**brackets)


def force_branch(node: cst.If) -> Iterator[cst.If]:
    """Replace a whole condition with True and with False."""
    yield node.with_changes(test=cst.Name("True"), whitespace_before_test=cst.SimpleWhitespace(" "))
    yield node.with_changes(test=cst.Name("False"), whitespace_before_test=cst.SimpleWhitespace(" "))


def force_filter(node: cst.CompIf) -> Iterator[cst.CompIf]:
    """Make the condition of a comprehension always true."""
    yield node.with_changes(test=cst.Name("True"))


def force_choice(node: cst.IfExp) -> Iterator[cst.BaseExpression]:
    """Replace ``a if x else b`` with ``a`` and with ``b``."""
    for kept in (node.body, node.orelse):
        yield kept if kept.lpar else kept.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def remove_assignment(node: cst.Assign) -> Iterator[cst.BaseSmallStatement]:
    """Leave out one target of ``x.a, x.b = 1, 2`` or of ``x.a = x.b = 1``, or the whole statement ``x.a = 1``.

    Assignments to local names stay: any test would fail on a missing name.
    """
    if len(node.targets) > 1:
        for at in range(len(node.targets)):
            yield node.with_changes(targets=[*node.targets[:at], *node.targets[at + 1 :]])
        return
    target, value = node.targets[0].target, node.value
    if isinstance(target, cst.Attribute | cst.Subscript):
        yield cst.Pass()
    if isinstance(target, cst.Tuple) and isinstance(value, cst.Tuple) and len(target.elements) == len(value.elements):
        for at, element in enumerate(target.elements):
            if isinstance(element.value, cst.Attribute):
                left = [*target.elements[:at], *target.elements[at + 1 :]]
                right = [*value.elements[:at], *value.elements[at + 1 :]]
                yield cst.Assign([cst.AssignTarget(_tuple(left))], _tuple(right))


def _tuple(elements: list[cst.BaseElement]) -> cst.BaseExpression:
    """Return a tuple of the elements, or the element itself if there is only one."""
    if len(elements) == 1:
        return cst.ensure_type(elements[0], cst.Element).value
    return cst.Tuple([element.with_changes(comma=cst.MaybeSentinel.DEFAULT) for element in elements], lpar=[], rpar=[])


def remove_update(node: cst.AugAssign) -> Iterator[cst.Pass]:  # noqa: ARG001 - an operator is called with its node
    """Leave out an augmented assignment."""
    yield cst.Pass()


def remove_call(node: cst.Expr) -> Iterator[cst.Pass]:
    """Leave out a statement that consists of a call."""
    if isinstance(node.value, cst.Call):
        yield cst.Pass()


OURS: Final = (
    (cst.BooleanOperation, remove_operand),
    (cst.If, force_branch),
    (cst.CompIf, force_filter),
    (cst.IfExp, force_choice),
    (cst.Assign, remove_assignment),
    (cst.AugAssign, remove_update),
    (cst.Expr, remove_call),
)
THEIRS: Final = ("number", "name", "remove_unary_ops", "keywords", "swap_op")
"""The mutmut operators that are kept, without their prefix ``operator_``."""


# -- the run -----------------------------------------------------------------------------------------
def prepare(names: list[str]) -> None:
    """Create mutmut's folder, and configure which modules and operators it uses."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    shown = sorted(path.name for path in ROOT.iterdir() if path.name[0] != "." and path != FOLDER.parent)
    for name in shown:
        (FOLDER / name).symlink_to(ROOT / name)
    os.chdir(FOLDER)
    from mutmut.configuration import Config
    from mutmut.mutation.mutators import mutation_operators

    wanted = {f"operator_{name}" for name in THEIRS}
    kept = [pair for pair in mutation_operators if pair[1].__name__ in wanted]
    assert {operator.__name__ for _, operator in kept} == wanted, "mutmut has renamed an operator"
    mutation_operators[:] = [*kept, *OURS]
    # The newest mutmut that works with Faust's version of click reads an attribute that pytest has removed.
    pytest.Item._nodeid = property(lambda item: item.nodeid)  # noqa: SLF001
    Config.get().also_copy = [Path(name) for name in shown if name != "crl_stream"]
    Config.get().pytest_add_cli_args = [*Config.get().pytest_add_cli_args, "--hypothesis-profile=mutation"]
    Config.get().only_mutate = [path_of(name) for name in names]
    if tests := NARROW.get(names[0]):
        Config.get().pytest_add_cli_args_test_selection = list(tests)


def results() -> tuple[Counter[str], list[Survivor]]:
    """Return how many mutants had each result, and the survivors."""
    from mutmut.__main__ import get_diff_for_mutant, status_by_exit_code, walk_mutatable_files
    from mutmut.mutation.data import SourceFileMutationData

    counts, survivors = Counter[str](), []
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, exit_code in data.exit_code_by_key.items():
            status = status_by_exit_code[exit_code]
            counts[status] += 1
            if status not in {"killed", "timeout", *UNFINISHED}:
                lines = get_diff_for_mutant(name, path=path).splitlines()[2:]
                code, becomes = (
                    " / ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
                )
                function = name.rpartition(".")[2].partition("__mutmut_")[0]
                function = function.rpartition("ǁ")[2] if "ǁ" in function else function.removeprefix("x_")
                survivors.append(Survivor(name_of(path), function, code, becomes))
    return counts, sorted(survivors)


def place(survivor: Survivor) -> str:
    """Return the file and line of a survivor."""
    path = path_of(survivor.module)
    inside, first = False, survivor.code.partition(" / ")[0]
    for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
        inside = inside or line.lstrip().startswith(f"def {survivor.function}(")
        if inside and line.strip() == first:
            return f"{path}:{number}"
    return path


def explained(names: list[str]) -> dict[Survivor, str]:
    """Read the explained survivors of the modules ``names``, with the reason for each."""
    entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("survivor", [])
    known = {Survivor(*(entry[field] for field in Survivor._fields)): entry["why"] for entry in entries}
    return {survivor: why for survivor, why in known.items() if survivor.module in names}


def report(names: list[str], seconds: float) -> int:
    """Print the results and return the exit status."""
    counts, survivors = results()
    known, status = explained(names), 0
    print(f"\n{sum(counts.values())} mutants in {seconds / 60:.1f} minutes: ", end="")
    print(", ".join(f"{count} {what}" for what, count in counts.most_common()))
    for survivor in survivors:
        why = known.get(survivor)
        status = status if why else 1
        print(f"\n{place(survivor)} in {survivor.function}\n  - {survivor.code}\n  + {survivor.becomes}")
        print(f"  {why or 'NOT EXPLAINED: write a test that fails, or explain in ' + EXPLAINED.name + ' why none can'}")
    if any(counts[what] for what in UNFINISHED):
        print("\ninterrupted: the list above is incomplete")
        return 1
    for survivor in sorted(known.keys() - set(survivors)):
        status = 1
        print(f"\n{place(survivor)} in {survivor.function}: explained, but no longer survives; remove it from the list")
        print(f"  - {survivor.code}\n  + {survivor.becomes}")
    return status


def path_of(name: str) -> str:
    """Return the path of a module."""
    return f"{PACKAGE}/{name}.py" if "/" in name else f"{PACKAGE}/{USUAL}/{name}.py"


def name_of(path: Path) -> str:
    """Return the name of a module, which ``path_of`` takes."""
    name = path.relative_to(PACKAGE).with_suffix("").as_posix()
    return name.removeprefix(f"{USUAL}/")


def main() -> int:
    """Mutate, test, report."""
    names = [name_of(Path(path_of(name))) for name in sys.argv[1:]] or [*DECIDES, *NARROW]
    unknown = [name for name in names if not (ROOT / path_of(name)).is_file()]
    if unknown:
        print(f"{PACKAGE} has no module {', '.join(unknown)}; use a name such as lifecycle", file=sys.stderr)
        return 2
    os.nice(5)
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        groups.setdefault(NARROW.get(name, ()), []).append(name)
    return max([run_apart(group) for group in groups.values()])


def run_apart(names: list[str]) -> int:
    """Mutate and test in a process of its own, because mutmut keeps what it has read in global variables."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        status = mutate(names)
    except SystemExit as ended:  # mutmut ends so if the tests fail without a mutant
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    os._exit(status)


def mutate(names: list[str]) -> int:
    """Mutate modules that have the same tests, and report."""
    started = time.monotonic()
    prepare(names)
    from mutmut import __main__ as mutmut

    if not sys.stdout.isatty():  # a progress line that overwrites itself is useless in a file
        mutmut.print_status = lambda text, *, force_output=False: print(text) if force_output else None
    mutmut._run([], PROCESSES)  # noqa: SLF001 - the command itself takes no list of operators
    return report(names, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
