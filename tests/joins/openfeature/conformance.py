"""Runs OpenFeature's Gherkin scenarios against the provider; prints one JSON line for each.

    conformance.py BOOTSTRAP_SERVERS TOPIC_PREFIX FOLDER

A flag of the suite is a task of the agent ``suite``. The value of a flag that is not an object is the field ``value``
of the variant's configuration, because a configuration is always an object.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gherkin.parser import Parser
from gherkin.pickles.compiler import Compiler
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationOptions
from openfeature.hook import Hook

from crl_stream.openfeature import CrlProvider
from crl_stream.settings import Settings, load_settings

GHERKIN = Path(__file__).parent / "suite"
FLAGS = json.loads((GHERKIN / "test-flags.json").read_text(encoding="utf-8"))

NOT_OURS = {
    "@targeting": "crl-stream has no targeting rules: the session alone decides",
    "@reason-codes-cached": "every answer comes from memory; there is no other kind to tell it from",
    "@reason-codes-disabled": "a task cannot be disabled",
    "@metadata": "the metadata of a flag are the provider's own: epoch, source, variant, invocation",
    "@Metadata": "the metadata of a flag are the provider's own: epoch, source, variant, invocation",
    "@immutability": "the SDK's own class of evaluation details can be changed",
}
TARGETED = "crl-stream has no targeting rules, and this flag of the suite needs one"


class Recorder(Hook):
    """Records the stages that ran."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name, self.details = log, name, {}

    def before(self, hook_context: Any, hints: Any) -> None:
        self.log.append(f"{self.name} before")

    def after(self, hook_context: Any, details: Any, hints: Any) -> None:
        self.log.append(f"{self.name} after")
        self.details["after"] = details

    def error(self, hook_context: Any, exception: Exception, hints: Any) -> None:
        self.log.append(f"{self.name} error")

    def finally_after(self, hook_context: Any, details: Any, hints: Any) -> None:
        self.log.append(f"{self.name} finally")
        self.details["finally"] = details


def settings(servers: str, prefix: str, folder: Path) -> Settings:
    flags = {"kafka.bootstrap_servers": servers, "kafka.topic_prefix": prefix, "client.cache_dir": str(folder)}
    return load_settings(environment={}, flags=flags)


class World:
    """The state of one scenario."""

    def __init__(self, servers: str, prefix: str, folder: Path) -> None:
        self.servers, self.prefix, self.folder = servers, prefix, folder
        self.log: list[str] = []
        self.hooks: list[Recorder] = []
        self.options: FlagEvaluationOptions | None = None
        self.context: EvaluationContext | None = None
        self.client: Any = None
        self.flag: tuple[str, str, Any] = ("", "", None)
        self.details: Any = None

    # -- providers ---------------------------------------------------------------------------------
    def provider(self, state: str) -> None:
        domain = state.replace(" ", "-")
        self.client = api.get_client(domain)
        if self.client.provider.get_metadata().name == "crl-stream":
            return
        absent = "127.0.0.1:1"
        if state == "stable":
            there = settings(self.servers, self.prefix, self.folder / "stable")
            api.set_provider_and_wait(CrlProvider(there, wait_seconds=20.0), domain)
        elif state == "not ready":
            there = settings(absent, self.prefix, self.folder / "not-ready")
            api.set_provider(CrlProvider(there, wait_seconds=60.0), domain)
        elif state == "error":
            api.set_provider_and_wait(CrlProvider(settings(absent, self.prefix, self.folder / "error")), domain)
        elif state == "stale":
            self._stale(domain)
        else:
            assert state == "fatal", state
            bad = self.folder / "bad.toml"
            bad.write_text('[kafka]\nsecurity_protocol = "rubbish"\n', encoding="utf-8")
            api.set_provider_and_wait(CrlProvider(file=bad), domain)

    def _stale(self, domain: str) -> None:
        """Start without Kafka, with the variants that an earlier run kept in its file."""
        kept = CrlProvider(settings(self.servers, self.prefix, self.folder / "stale"), wait_seconds=20.0)
        kept.initialize(EvaluationContext())
        kept.shutdown()
        (file,) = (self.folder / "stale").glob("*active*")
        absent = settings("127.0.0.1:1", self.prefix, self.folder / "stale")
        file.rename(kept_as(absent))
        api.set_provider_and_wait(CrlProvider(absent), domain)

    # -- evaluation --------------------------------------------------------------------------------
    def use_flag(self, kind: str, key: str, default: str) -> None:
        self.flag = (kind, our_key(key), read(kind, default))

    def evaluate(self) -> None:
        kind, key, default = self.flag
        evaluate = getattr(self.client, f"get_{kind.lower()}_details")
        self.details = evaluate(key, default, self.context, self.options)

    def evaluate_async(self) -> None:
        kind, key, default = self.flag
        evaluate = getattr(self.client, f"get_{kind.lower()}_details_async")
        self.details = asyncio.run(evaluate(key, default, self.context))

    def status(self) -> str:
        return str(self.client.get_provider_status().value)


def kept_as(there: Settings) -> Path:
    from crl_stream.client.keeping import kept_file

    return kept_file(there)


def our_key(key: str) -> str:
    values = FLAGS.get(key, {}).get("variants", {}).values()
    return f"suite/{key}/value" if any(not isinstance(value, dict) for value in values) else f"suite/{key}"


def read(kind: str, text: str) -> Any:
    """Return the value that a step writes as text."""
    kind = kind.lower()
    if kind == "string":
        return text
    if kind == "boolean":
        return text == "true"
    return json.loads(text.replace('\\"', '"')) if kind == "object" else {"integer": int, "float": float}[kind](text)


def same(found: Any, expected: Any) -> None:
    assert found == expected and type(found) is type(expected), f"{found!r} instead of {expected!r}"


def soon(read: Callable[[], str], expected: str) -> None:
    """Events arrive a moment after the provider was set."""
    until = time.monotonic() + 10.0
    while read() != expected and time.monotonic() < until:
        time.sleep(0.01)
    same(read(), expected)


def check_hook(world: World, stages: str, table: list[list[str]]) -> None:
    (hook,) = world.hooks
    for stage in stages.split(", "):
        found = hook.details[stage]
        for kind, name, value in table[1:]:
            expected = our_key(value) if name == "flag_key" else None if value == "null" else read(kind, value)
            same_text = getattr(found, name)
            assert same_text == expected, f"{stage}: {name} is {same_text!r} instead of {expected!r}"


def ran(world: World, stage: str) -> None:
    assert any(line.endswith(stage) for line in world.log), world.log


def evaluate_now(world: World, kind: str, key: str, default: str | None) -> None:
    """Evaluate a flag in the words of the older suite, in which numbers are not quoted and null is a default."""
    world.client = api.get_client("stable")
    world.flag = (kind, our_key(key), {} if default is None else read(kind, default.strip('"')))
    world.evaluate()


def same_now(world: World, value: str, variant: str | None = None, reason: str | None = None) -> None:
    same(world.details.value, read(world.flag[0], value.strip('"')))
    if variant is not None:
        same((world.details.variant, str(world.details.reason)), (variant, reason))


def check_fields(world: World, names: str, values: str) -> None:
    """Compare an object with lists such as `"a", and "b"` and `"true", and 1`."""
    expected = [json.loads(value) for value in re.findall(r'".*?"|[0-9]+', values)]
    found = dict(zip(re.findall(r'"(.*?)"', names), expected, strict=True))
    assert world.details.value == {name: True if value == "true" else value for name, value in found.items()}


def is_error(world: World, code: str) -> None:
    same((str(world.details.reason), str(world.details.error_code)), ("ERROR", code))
    same(world.details.value, world.flag[2])


STEPS: dict[str, Callable[..., None]] = {
    r'an? (?:non-existent )?(\w+) flag with key "(.*?)" is evaluated (?:with details and a|with|with details and)'
    r" (?:default|fallback) value (.*)": lambda w, kind, key, value, _: evaluate_now(w, kind, key, value),
    r'an object flag with key "(.*?)" is evaluated with (?:details and )?a null default value': (
        lambda w, key, _: evaluate_now(w, "object", key, None)
    ),
    r'a string flag with key "(.*?)" is evaluated as an integer, with details and a fallback value (.*)': (
        lambda w, key, value, _: evaluate_now(w, "integer", key, value)
    ),
    r'the resolved (?!details|object)\w+ value should be ("[^"]*"|[0-9.]+)': lambda w, value, _: same_now(w, value),
    r'the resolved (?!details|object)\w+ details value should be (".*?"|[0-9.]+), the variant should be "(.*?)",'
    r' and the reason should be "(.*?)"': lambda w, value, variant, reason, _: same_now(w, value, variant, reason),
    r"the resolved object (?:details )?value should be contain fields (.*), with values (.*), respectively": (
        lambda w, names, values, _: check_fields(w, names, values)
    ),
    r'the variant should be "(.*?)", and the reason should be "(.*?)"': (
        lambda w, variant, reason, _: same((w.details.variant, str(w.details.reason)), (variant, reason))
    ),
    r"the default \w+ value should be returned": lambda w, _: same(w.details.value, w.flag[2]),
    r'the reason should indicate an error and the error code should indicate .* with "(.*)"': (
        lambda w, code, _: is_error(w, code)
    ),
    r"an? (stable|not ready|error|fatal|stale) provider": lambda w, state, _: w.provider(state),
    r'an? (\w+)-flag with key "(.*?)" and a (?:fallback|default) value "(.*)"': (
        lambda w, kind, key, value, _: w.use_flag(kind, key, value)
    ),
    r"the flag was evaluated with details": lambda w, _: w.evaluate(),
    r"the flag was evaluated with details using the evaluation options": lambda w, _: w.evaluate(),
    r"the flag was evaluated with details asynchronously": lambda w, _: w.evaluate_async(),
    r"the evaluation should complete without blocking": lambda w, _: None,
    r'the resolved details value should be "(.*)"': lambda w, v, _: same(w.details.value, read(w.flag[0], v)),
    r'the reason should be "([^"]*)"': lambda w, v, _: same(str(w.details.reason), v),
    r'the error-code should be "(.*)"': lambda w, v, _: same(str(w.details.error_code), v),
    r'the flag key should be "(.*)"': lambda w, v, _: same(w.details.flag_key, our_key(v)),
    r'the variant should be "([^"]*)"': lambda w, v, _: same(w.details.variant, v),
    r'the provider status should be "(.*)"': lambda w, v, _: soon(w.status, v),
    r"a client with added hook": lambda w, _: add_hook(w),
    r'the "(.*)" hook should have been executed': lambda w, stage, _: ran(w, stage),
    r'the "(.*)" hooks should be called with evaluation details': check_hook,
    r"evaluation options containing specific hooks": lambda w, _: set_options(w),
    r"the specified hooks should execute during evaluation": lambda w, _: same(len(w.log), 6),
    r"the hook order should be maintained": lambda w, _: same(
        w.log, ["one before", "two before", "two after", "one after", "two finally", "one finally"]
    ),
}


def add_hook(world: World) -> None:
    world.hooks = [Recorder(world.log, "hook")]
    world.client = api.get_client("stable")
    world.client.add_hooks(world.hooks)


def set_options(world: World) -> None:
    world.options = FlagEvaluationOptions(hooks=[Recorder(world.log, "one"), Recorder(world.log, "two")])


def not_ours(scenario: dict[str, Any]) -> str:
    """Return why a scenario does not apply to this provider; empty if it does."""
    for tag in scenario["tags"]:
        if tag["name"] in NOT_OURS:
            return NOT_OURS[tag["name"]]
    for step in scenario["steps"]:
        if step["text"].startswith("context contains keys"):
            return TARGETED
        key = re.search(r'with key "(.*?)"', step["text"])
        if key is not None and "contextEvaluator" in FLAGS.get(key[1], {}):
            return TARGETED
    return ""


def run(scenario: dict[str, Any], world: World) -> str:
    """Run one scenario; return what failed, or an empty text."""
    for step in scenario["steps"]:
        table = [[cell["value"] for cell in row["cells"]] for row in _rows(step)]
        found = [(match, do) for pattern, do in STEPS.items() if (match := re.fullmatch(pattern, step["text"]))]
        if len(found) != 1:
            return f"{len(found)} definitions of the step {step['text']}"
        try:
            found[0][1](world, *found[0][0].groups(), table)
        except Exception as error:
            return f"{step['text']}: {type(error).__name__}: {error}"
    return ""


def _rows(step: dict[str, Any]) -> list[Any]:
    rows: list[Any] = step.get("argument", {}).get("dataTable", {}).get("rows", [])
    return rows


def main() -> None:
    servers, prefix, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    for file in sorted(GHERKIN.glob("*.feature")):
        document = Parser().parse(file.read_text(encoding="utf-8"))
        document["uri"] = file.name
        for scenario in Compiler().compile(document):
            line = {"file": file.name, "line": scenario["location"]["line"], "name": scenario["name"]}
            why = not_ours(scenario)
            if why:
                print(json.dumps(line | {"not_ours": why}))
            else:
                print(json.dumps(line | {"failed": run(scenario, World(servers, prefix, folder))}), flush=True)
    api.shutdown()


if __name__ == "__main__":
    main()
