"""The contract's files match the code, and standard tools can read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from crl_stream.contract import contract_root, load_catalog
from crl_stream.contract import generator as contract_generator
from crl_stream.contract.generator import generate, stale, write
from crl_stream.wire import dead_letter, reasons
from crl_stream.wire.schemas import DIALECT, schema_name
from crl_stream.wire.topics import DEAD_LETTERS, MESSAGES

ROOT = contract_root()
FILES = [(topic, kind) for topic, kinds in MESSAGES.items() for kind in kinds]
IDS = [f"{topic}.{kind.__name__}" for topic, kind in FILES]


def read(name: str) -> Any:
    return json.loads((ROOT / name).read_text(encoding="utf-8"))


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, inner in node.items():
            if name == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def resolve(document: Any, pointer: str) -> Any:
    for step in pointer.removeprefix("#/").split("/"):
        document = document[step.replace("~1", "/").replace("~0", "~")]
    return document


def test_the_generated_files_are_those_of_the_code() -> None:
    assert stale(ROOT) == [], "run make contract"


def test_generating_twice_gives_the_same_text() -> None:
    assert generate() == generate()


def test_a_stale_a_missing_and_a_left_over_file_are_found_and_mended(tmp_path: Any) -> None:
    everything = sorted(generate())
    assert write(tmp_path) == everything
    assert stale(tmp_path) == []
    (tmp_path / everything[0]).write_text("{}", encoding="utf-8")
    (tmp_path / everything[1]).unlink()
    (tmp_path / "schemas" / "crl.gone.Gone.v1.json").write_text("{}", encoding="utf-8")
    wrong = sorted([everything[0], everything[1], "schemas/crl.gone.Gone.v1.json"])
    assert stale(tmp_path) == wrong
    assert write(tmp_path) == wrong
    assert stale(tmp_path) == []


def test_a_check_writes_nothing_and_says_what_to_run(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contract_generator, "contract_root", lambda: tmp_path)
    assert contract_generator.main(["--check"]) == 1
    assert "run make contract" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert contract_generator.main([]) == 0
    assert contract_generator.main(["--check"]) == 0


@pytest.mark.parametrize(("topic", "kind"), FILES, ids=IDS)
def test_every_schema_is_valid_stands_alone_and_explains_itself(topic: str, kind: type) -> None:
    schema = read(f"schemas/{schema_name(topic, kind)}")
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == DIALECT
    assert schema["$id"] == f"urn:crl-stream:{topic}:{kind.__name__}:v1"
    assert schema["description"]
    for reference in references(schema):
        assert reference.startswith("#/$defs/")
        assert resolve(schema, reference)


@pytest.mark.parametrize(("topic", "kind"), FILES, ids=IDS)
def test_a_schema_closes_nothing_that_readers_must_leave_open(topic: str, kind: type) -> None:
    schema = read(f"schemas/{schema_name(topic, kind)}")
    assert "additionalProperties" not in schema
    closed = {name for name, inner in schema.get("$defs", {}).items() if inner.get("additionalProperties") is False}
    policy = "policy" in schema["properties"]
    assert bool(closed) == policy


def test_every_schema_has_an_id_of_its_own() -> None:
    ids = [read(f"schemas/{schema_name(*file)}")["$id"] for file in FILES]
    assert len(set(ids)) == len(ids)


def test_the_comment_below_a_field_is_its_description() -> None:
    fields = read("schemas/crl.invocations.Invocation.v1.json")["properties"]
    assert fields["active_epoch"]["description"] == "Epoch of the active-variant record that the runtime had read."
    policy = read("schemas/crl.commands.SetPolicy.v1.json")
    rate = policy["$defs"]["Learning"]["properties"]["rate"]
    assert rate["description"].startswith("Smallest step of Q")


def test_the_document_is_asyncapi_3_and_names_every_topic() -> None:
    document = read("asyncapi.json")
    assert document["asyncapi"] == "3.0.0"
    assert [channel["address"] for channel in document["channels"].values()] == [s.name for s in load_catalog().topics]
    assert {channel["address"] for channel in document["channels"].values()} == set(MESSAGES)


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = read("asyncapi.json")
    found = list(references(document))
    assert any(name.startswith("./schemas/") for name in found)
    for reference in found:
        if reference.startswith("#/"):
            assert resolve(document, reference)
        else:
            assert (ROOT / reference).resolve().is_relative_to(ROOT.resolve())
            assert read(reference)["$schema"] == DIALECT


def test_the_document_refers_to_every_schema_there_is() -> None:
    named = {name.removeprefix("./") for name in references(read("asyncapi.json")) if name.startswith("./")}
    assert named == {f"schemas/{path.name}" for path in (ROOT / "schemas").glob("*.json")}


def test_the_document_receives_what_strangers_send_and_sends_the_rest() -> None:
    operations = read("asyncapi.json")["operations"]
    actions: dict[str, set[str]] = {}
    for operation in operations.values():
        actions.setdefault(operation["channel"]["$ref"].rpartition("/")[2], set()).add(operation["action"])
        channel = resolve(read("asyncapi.json"), operation["channel"]["$ref"])
        for message in operation["messages"]:
            assert message["$ref"].rpartition("/")[2] in channel["messages"]
    assert {name for name, found in actions.items() if "receive" in found} == {
        "invocations",
        "commands",
        "dead_letters",
    }
    assert {name for name, found in actions.items() if "send" not in found} == set()


def test_the_document_has_every_reason_and_every_header_of_a_dead_letter() -> None:
    headers = read("asyncapi.json")["components"]["messages"]["dead_letters"]["headers"]
    assert headers["properties"][dead_letter.REASON]["enum"] == list(reasons.MEANING)
    assert set(headers["required"]) == dead_letter._ERRORS - {dead_letter.CUT, dead_letter.BATCH}
    assert set(headers["properties"]) == dead_letter._ERRORS
    Draft202012Validator.check_schema(headers)


def test_the_document_has_every_header_of_a_mark() -> None:
    headers = read("asyncapi.json")["components"]["messages"]["dead_letters.ReplayMark"]["headers"]
    assert set(headers["required"]) == set(headers["properties"]) == dead_letter._REPLAYED
    Draft202012Validator.check_schema(headers)


def test_the_document_says_how_the_broker_keeps_each_topic() -> None:
    channels = {
        channel["address"]: channel["bindings"]["kafka"] for channel in read("asyncapi.json")["channels"].values()
    }
    for spec in load_catalog().topics:
        said = channels[spec.name]["topicConfiguration"]
        kept = spec.configs()
        assert ",".join(said["cleanup.policy"]) == kept["cleanup.policy"]
        assert str(said.get("retention.ms", -1)) == kept["retention.ms"]
        assert str(said["max.message.bytes"]) == kept["max.message.bytes"]


def test_the_page_for_people_names_every_topic_reason_and_header() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    headers = read("asyncapi.json")["components"]["messageTraits"]["cloudEvents"]["headers"]["properties"]
    fields = read("schemas/crl.invocations.Invocation.v1.json")["properties"]
    words = [
        *MESSAGES,
        *reasons.MEANING,
        *dead_letter._ERRORS,
        *dead_letter._ORIGIN,
        *dead_letter._REPLAYED,
        *headers,
        *fields,
    ]
    words += [kind.__name__ for kinds in MESSAGES.values() for kind in kinds]
    assert [word for word in words if f"`{word}`" not in page] == []


def test_the_table_of_reasons_on_the_page_says_what_the_code_says() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [word for word, meaning in reasons.MEANING.items() if f"| `{word}` | {meaning} |" not in page] == []


def test_the_table_of_topics_on_the_page_says_what_the_catalog_says() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `crl.")]
    assert [row.split("`")[1] for row in rows] == [spec.name for spec in load_catalog().topics]
    for spec, row in zip(load_catalog().topics, rows, strict=True):
        assert ", ".join(spec.writers) in row
        assert ", ".join(spec.readers) in row
        kept = "" if spec.retention_ms is None else f" {spec.retention_ms // 86_400_000} d"
        assert f"| {spec.cleanup}{kept} |" in row


def test_no_message_travels_under_dead_letters() -> None:
    assert MESSAGES[DEAD_LETTERS] == ()
