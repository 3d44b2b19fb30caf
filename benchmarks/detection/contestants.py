"""The contestants by name: the product under a policy, and the rivals behind one actuator."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

from benchmarks.detection.actuator import Actuator, MakeDetector
from benchmarks.detection.engine import Decider, Engine
from benchmarks.detection.rivals import RIVALS, ours
from benchmarks.environment import bench_python
from crl_stream.core.policy import Policy
from crl_stream.errors import UsageError
from crl_stream.settings import load_settings

POLICIES = ("guide", "production")
"""The policies that run unless others are named."""
EVIDENCE = "evidence"
"""The rival with the product's verdict; its policy is ``production``."""
USUAL_RIVALS = (
    "rule",
    EVIDENCE,
    "sequential",
    "adwin",
    "adwin,clock=1,delta=0.1",
    "ddm",
    "page_hinkley",
    "hddm_a",
)
"""The rivals that run unless others are named; the second ADWIN has river's best single setting for all rates."""
_CODES = {"production": "prod"}
_SAYS = "the product, with its own choice of targets"
_SAYS_EVIDENCE = "the product's verdict (production), behind the rivals' actuator"


class Contestant(NamedTuple):
    """Who decides."""

    name: str
    code: str
    """The contestant's column heading in narrow tables."""
    says: str
    """A description of the contestant, with its parameters."""
    make: Callable[[], Decider]
    """Creates a decider for one task."""
    is_policy: bool = False
    """Whether the contestant is the product, with all its decisions."""


def policy_of(text: str) -> Policy:
    """Return a policy: a profile, then settings, like ``production,rollback.confidence=0.5``; or ``never``.

    Raises ``ConfigError`` for a profile or a setting that does not exist.
    """
    name, *given = text.split(",")
    flags = {"profile": "guide" if name == "never" else name, "limits.snapshot_outcomes": "1000000"}
    if name == "never":
        flags["operations.mode"] = "observe"
    flags |= dict(_setting(setting) for setting in given)
    return load_settings(environment={}, flags=flags).policies.default


def contestant_of(text: str) -> Contestant:
    """Return a contestant: a rival with its settings, like ``adwin,delta=0.1``, or a policy.

    Raises ``UsageError`` or ``ConfigError`` for a name or a setting that does not exist.
    """
    name, *given = text.split(",")
    if name not in RIVALS and name != EVIDENCE:
        policy = policy_of(text)
        return Contestant(text, _CODES.get(name, name[:5]), _SAYS, lambda: Engine(policy), is_policy=True)
    if name == EVIDENCE:
        # The policy only observes; the actuator decides what to do about a verdict.
        policy = policy_of(",".join(["production", "operations.mode=observe", *given]))
        code, says, make = "evid", _SAYS_EVIDENCE, ours(policy)
    else:
        (code, says, *_), make = RIVALS[name], _detectors(text)
    says += f"; here {', '.join(given)}" if given else ""
    return Contestant(text, code, says, lambda: Actuator(make))


def _detectors(text: str) -> MakeDetector:
    name, *given = text.split(",")
    try:
        make = RIVALS[name].make(**{key: json.loads(value) for key, value in map(_setting, given)})
        make("variant", None)
    except (TypeError, ValueError) as error:
        hint = "python -m benchmarks.detection --help shows examples"
        raise UsageError(f"{text} is not a valid rival: {error}", hint=hint) from None
    return make


def _setting(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise UsageError(f"{text} is not a setting", hint="write NAME=VALUE, as in adwin,delta=0.1")
    return key, value


def borrow_river() -> bool:
    """Make river importable from ``.venv-bench``; return whether it is there.

    Its folder comes last on the path, so every library that we need ourselves still comes from our environment.
    """
    if (python := bench_python()) is not None:
        found = python.parent.parent.joinpath("lib").glob("python*/site-packages")
        sys.path += [str(folder) for folder in found if str(folder) not in sys.path]
    try:
        import river  # noqa: F401
    except ImportError:
        return False
    return True


def needing_river(names: Sequence[str]) -> list[str]:
    """Return the contestants that need river."""
    heads = {name: name.partition(",")[0] for name in names}
    return [name for name, head in heads.items() if head in RIVALS and RIVALS[head].needs_river]


def parameters(names: Sequence[str], missing: Container[str]) -> dict[str, Any]:
    """Return code and description by name, for the report; no two contestants have the same code."""
    found: dict[str, Any] = {}
    codes: set[str] = set()
    for name in names:
        if name in missing:
            rival = RIVALS[name.partition(",")[0]]
            code, says, is_policy = rival.code, rival.says, False
        else:
            _, code, says, _, is_policy = contestant_of(name)
        while code in codes:
            code += "*"
        codes.add(code)
        found[name] = {"code": code, "says": says, "is_policy": is_policy}
    return found
