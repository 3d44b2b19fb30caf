"""The sections that a client reads: the same values and the same words as pydantic, which reads the other sections."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict, Field, SecretStr, ValidationError, create_model, field_validator
from pydantic_core import PydanticCustomError
from source_tree import environment_of_this_checkout

from crl_stream.errors import ConfigError
from crl_stream.settings import names
from crl_stream.settings.fields import Secret, read_section
from crl_stream.settings.layers import resolve
from crl_stream.settings.model import SECTIONS, leaves
from crl_stream.settings.origin import Origin
from crl_stream.settings.runtime_sections import RUNTIME_SECTIONS

SETTINGS = [(section, field) for section, kind in RUNTIME_SECTIONS.items() for field in kind.__struct_fields__]


def as_pydantic(kind: Any) -> Any:
    """Translate a field's annotation into the one that pydantic would need."""
    if get_origin(kind) is Annotated:
        plain, *limits = get_args(kind)
        words: dict[str, Any] = {}
        for limit in limits:
            words |= {name: found for name in ("ge", "le", "pattern") if (found := getattr(limit, name)) is not None}
        return Annotated[as_pydantic(plain), Field(**words)]
    if kind is Secret:
        return SecretStr
    if type(None) in get_args(kind):
        return as_pydantic(get_args(kind)[0]) | None
    return kind


def not_a_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "Input should not be true or false")
    return value


def models() -> dict[str, Any]:
    found = {}
    for section, kind in RUNTIME_SECTIONS.items():
        types = get_type_hints(kind, include_extras=True)
        given_fields: dict[str, Any] = {
            name: (as_pydantic(types[name]), Field(default=None)) for name in kind.__struct_fields__
        }
        found[section] = create_model(
            section,
            __config__=ConfigDict(frozen=True, extra="forbid"),
            __validators__={"boolean": field_validator("*", mode="before")(not_a_boolean)},
            **given_fields,
        )
    return found


MODELS = models()


def read_by_pydantic(section: str, field: str, value: Any) -> Any:
    try:
        found = getattr(MODELS[section].model_validate({field: value}), field)
    except ValidationError as error:
        return f"wrong: {error.errors()[0]['msg']}"
    return Secret(found.get_secret_value()) if isinstance(found, SecretStr) else found


def read_by_us(section: str, field: str, value: Any) -> Any:
    try:
        read = read_section(section, RUNTIME_SECTIONS[section], {field: Origin(value, "here")})
    except ConfigError as error:
        return f"wrong: {error.message.removeprefix(f'{section}.{field} = ').partition(' (here): ')[2][:-1]}"
    return getattr(read, field)


SPACE = st.text(alphabet=" \t\n\x0b\x1c\x1f\x85\xa0\u2003\u200b\u3000", max_size=2)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(0, 70_000).map(str),
    st.integers(0, 70_000).map(lambda number: f"{number:_}"),
    st.floats().map(str),
    st.text(alphabet="0123456789._+-eEinfa٣", max_size=7),
    st.sampled_from(
        ["inf", "-Infinity", "NaN", "1_000", "1__0", "_1", "1_", "1.", "1.0", ".5", "+5", "--5", "0x10", "1e3"]
    ),
)
TEXT = st.one_of(
    st.text(max_size=8),
    st.builds("{}{}{}".format, SPACE, NUMBERS, SPACE),
    st.text(alphabet="abc._-/ \n", max_size=70),
    st.sampled_from(["PLAINTEXT", "plaintext", "SASL_SSL", "PLAIN", "SCRAM-SHA-512", "prefix.", "a" * 64, "a" * 65]),
)
LIMITS = {0, 1, 9, 256, 300, 1_024, 32_768, 65_535}
EDGES = st.builds(
    lambda limit, away, form: form(limit + away),
    st.sampled_from(sorted(LIMITS)),
    st.sampled_from([-1, 0, 1]),
    st.sampled_from([int, float, str]),
)
"""The limits of the ranges, and the numbers beside them."""
VALUES = st.one_of(
    EDGES,
    TEXT,
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(0, 70_000),
    st.floats(),
    st.floats(0, 400).map(lambda number: round(number, 1)),
    st.none(),
    st.lists(TEXT, max_size=1),
    st.dictionaries(st.text(max_size=1), TEXT, max_size=1),
    st.sampled_from([datetime.now(UTC), date(2026, 1, 1), time(9), Path("folder"), Path()]),
)


@settings(max_examples=1_000)
@given(st.sampled_from(SETTINGS), VALUES)
@example(("kafka", "partitions"), "9" * 5_000)
@example(("kafka", "topic_prefix"), "newline\n")
@example(("client", "close_seconds"), 10**400)
@example(("broker", "port"), "9092")
@example(("client", "close_seconds"), "nan")
@example(("client", "close_seconds"), "1e1_0")
def test_every_value_is_read_as_pydantic_reads_it_and_refused_in_the_same_words(
    setting: tuple[str, str], value: Any
) -> None:
    section, field = setting
    ours, theirs = read_by_us(section, field, value), read_by_pydantic(section, field, value)
    assert (type(ours), repr(ours)) == (type(theirs), repr(theirs))


@pytest.mark.parametrize(("section", "field"), SETTINGS)
def test_every_default_is_a_value_that_could_be_given(section: str, field: str) -> None:
    default = getattr(RUNTIME_SECTIONS[section](), field)
    given_value = default.get_secret_value() if isinstance(default, Secret) else default
    assert read_by_us(section, field, given_value) == default


def test_a_client_and_a_worker_read_the_same_classes() -> None:
    assert {name: SECTIONS[name] for name in RUNTIME_SECTIONS} == RUNTIME_SECTIONS
    layers = [("kafka.partitions", Origin("7", "flag --set kafka.partitions"))]
    assert type(resolve(layers).kafka) is RUNTIME_SECTIONS["kafka"]
    assert resolve(layers).kafka.partitions == 7


def test_the_first_wrong_field_of_a_section_is_reported_whatever_the_order_in_the_file() -> None:
    chosen = {"replication_factor": Origin(0, "crl.toml", 3), "partitions": Origin(0, "crl.toml", 9)}
    with pytest.raises(ConfigError) as refused:
        read_section("kafka", RUNTIME_SECTIONS["kafka"], chosen)
    expected = "kafka.partitions = 0 (crl.toml, line 9): Input should be greater than or equal to 1."
    assert refused.value.message == expected


def test_a_refused_secret_is_not_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        read_section("kafka", RUNTIME_SECTIONS["kafka"], {"sasl_password": Origin(12345, "crl.toml")})
    expected = "kafka.sasl_password = (a secret) (crl.toml): Input should be a valid string."
    assert refused.value.message == expected
    assert "hunter2" not in repr(Secret("hunter2")) + str(Secret("hunter2"))


def test_a_section_cannot_be_changed_but_copied() -> None:
    kafka = RUNTIME_SECTIONS["kafka"]()
    copy = kafka.model_copy(update={"partitions": 2})
    assert (copy.partitions, kafka.partitions) == (2, 4)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        kafka.partitions = 3  # type: ignore[attr-defined]
    assert msgspec.structs.replace(copy, partitions=4) == kafka


def test_the_names_that_a_client_knows_are_those_of_all_settings() -> None:
    """``python -m crl_stream.contract.generator`` writes the file."""
    assert names.all_names() == tuple(leaves())


def test_reading_settings_for_a_client_imports_no_pydantic_even_if_a_variable_is_unknown() -> None:
    program = "import sys\nfrom crl_stream.settings import load_client_settings\nfound = load_client_settings()\n"
    program += "print(found.notes)\nprint(*sorted({'pydantic', 'typer', 'crl_stream.settings.model'} & {*sys.modules}))"
    environment = environment_of_this_checkout() | {"CRL_UNKNOWN": "1", "CRL_WORKER_WEB_PORT": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    notes, imported = done.stdout.splitlines()
    assert "CRL_UNKNOWN" in notes
    assert "CRL_WORKER_WEB_PORT" not in notes
    assert not imported


def test_every_limit_is_among_the_values_tried() -> None:
    for model in MODELS.values():
        for field in model.model_json_schema()["properties"].values():
            for one in (field, *field.get("anyOf", ())):
                assert {one[edge] for edge in ("minimum", "maximum") if edge in one} <= LIMITS


def test_a_limit_that_the_reader_does_not_know_is_not_ignored() -> None:
    known = {"ge", "le", "pattern"}
    for kind in RUNTIME_SECTIONS.values():
        for hint in get_type_hints(kind, include_extras=True).values():
            parts = get_args(hint) if type(None) in get_args(hint) else [hint]
            for part in parts:
                for limit in get_args(part)[1:] if get_origin(part) is Annotated else ():
                    used = {
                        name for name in dir(limit) if not name.startswith("_") and getattr(limit, name) is not None
                    }
                    assert used <= known
