"""Golden examples are documentation that is tested; each message of each topic has at least one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from source_tree import environment_of_this_checkout

from crl_stream.contract import contract_root
from crl_stream.core import messages as m
from crl_stream.core.policy import PolicySet
from crl_stream.wire.codec import Decoded, Rejected, decode, encode
from crl_stream.wire.dead_letter import read_letter
from crl_stream.wire.schemas import schema_name
from crl_stream.wire.topics import BRIDGE_INBOX, DEAD_LETTERS, MESSAGES
from wire.messages import key_of

ROOT = contract_root()
EVERY = sorted((ROOT / "examples").rglob("*.json"))
MESSAGES_ONLY = [path for path in EVERY if path.parent.name not in {DEAD_LETTERS, BRIDGE_INBOX}]


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def kind_of(path: Path) -> type:
    [kind] = [kind for kind in MESSAGES[path.parent.name] if kind.__name__ == path.stem.partition("-")[0]]
    return kind


def key_for(path: Path) -> bytes:
    fields = json.loads(path.read_bytes())
    return key_of(type("Fields", (), {"agent_name": None} | fields))


def unknown(given: Any, known: Any, where: str = "$") -> list[str]:
    """Return the fields of an example that its message type lacks: readers would ignore them, so they must be typos."""
    if isinstance(given, dict) and isinstance(known, dict):
        missing = [f"{where}.{name}" for name in given.keys() - known.keys()]
        return missing + [p for n in given.keys() & known.keys() for p in unknown(given[n], known[n], f"{where}.{n}")]
    if isinstance(given, list) and isinstance(known, list):
        return [p for i, (a, b) in enumerate(zip(given, known, strict=True)) for p in unknown(a, b, f"{where}[{i}]")]
    return [] if given == known else [f"{where}: {given!r} became {known!r}"]


def test_every_message_of_every_topic_has_an_example() -> None:
    there = {(path.parent.name, kind_of(path)) for path in MESSAGES_ONLY}
    assert there == {(topic, kind) for topic, kinds in MESSAGES.items() for kind in kinds}
    assert {path.parent.name for path in EVERY} == set(MESSAGES)


@pytest.mark.parametrize("path", MESSAGES_ONLY, ids=named)
def test_an_example_fits_its_schema(path: Path) -> None:
    schema = json.loads((ROOT / "schemas" / schema_name(path.parent.name, kind_of(path))).read_bytes())
    Draft202012Validator(schema).validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize("path", MESSAGES_ONLY, ids=named)
def test_an_example_is_read_as_the_message_that_its_name_says_and_nothing_of_it_is_lost(path: Path) -> None:
    found = decode(path.parent.name, path.read_bytes(), key_for(path))
    assert isinstance(found, Decoded), found
    assert type(found.message) is kind_of(path)
    assert unknown(json.loads(path.read_bytes()), json.loads(encode(found.message))) == []


@pytest.mark.parametrize("path", EVERY, ids=named)
def test_an_example_is_laid_out_for_people(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("path", [path for path in EVERY if path.parent.name == DEAD_LETTERS], ids=named)
def test_an_example_of_a_dead_letter_is_dead_for_the_reason_that_its_headers_give(path: Path) -> None:
    record = json.loads(path.read_bytes())
    letter = read_letter([(name, value.encode()) for name, value in record["headers"].items()])
    found = decode(letter.topic, record["value"].encode(), record["key"].encode())
    assert found == Rejected(letter.reason, letter.detail)
    assert min(letter.partition, letter.offset) >= 0


def test_the_example_of_a_policy_has_the_hash_of_its_policy() -> None:
    fields = json.loads((ROOT / "examples" / "crl.commands" / "SetPolicy.json").read_bytes())
    found = decode("crl.commands", json.dumps(fields).encode(), b"!policy")
    assert isinstance(found, Decoded)
    assert isinstance(found.message, m.SetPolicy)
    assert isinstance(found.message.policy, PolicySet)
    assert found.message.policy.digest() == fields["policy_hash"]


def test_the_examples_tell_one_story_whose_parts_name_each_other() -> None:
    def example(name: str) -> Any:
        return json.loads((ROOT / "examples" / f"{name}.json").read_bytes())

    rollback = example("crl.rollbacks/RollbackEvent")
    assert rollback["cause_id"] == example("crl.degradations/DegradationAlert")["alert_id"]
    assert example("crl.alerts/Alert-rollback")["cause_id"] == rollback["rollback_id"]
    assert example("crl.decisions/Activation-rollback")["cause_id"] == rollback["rollback_id"]
    assert example("crl.active-variants/ActiveVariant-after-rollback")["cause_id"] == rollback["rollback_id"]
    undo = example("crl.commands/UndoRollback")
    assert undo["rollback_id"] == rollback["rollback_id"]
    assert undo["expected_epoch"] == rollback["epoch"]
    assert example("crl.invocations/CommandRef")["command_id"] == undo["command_id"]
    assert example("crl.decisions/CommandResult-applied")["command_id"] == undo["command_id"]


def test_no_decoder_is_built_after_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a thread builds a decoder, msgspec crashes another thread that decodes one of the same nested types."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a decoder is built while threads may be decoding")

    monkeypatch.setattr(msgspec.json, "Decoder", refuse)
    for path in MESSAGES_ONLY:
        assert isinstance(decode(path.parent.name, path.read_bytes(), key_for(path)), Decoded), path


WHILE_DECODING = f"""
import sys, threading
from pathlib import Path
from crl_stream.wire.runtime_codec import Decoded, decode_variants

folder = Path({str(ROOT / "examples")!r})
examples = [(path.parent.name, path.read_bytes()) for path in folder.glob("crl.*variants/*.json")]
started, stop = threading.Event(), threading.Event()

def decode():
    while not stop.is_set():
        for topic, value in examples:
            assert isinstance(decode_variants(topic, value), Decoded)
        started.set()

thread = threading.Thread(target=decode)
thread.start()
started.wait()
import crl_stream.wire.codec  # builds the decoders of all other messages
stop.set()
thread.join()
print(len(examples))
"""


def test_a_program_may_import_the_other_decoders_while_its_client_decodes() -> None:
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", WHILE_DECODING],
            env=environment_of_this_checkout(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) >= 2
