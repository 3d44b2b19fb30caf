"""The reasons for dead letters, one word each."""

from __future__ import annotations

from typing import Final

NULL_VALUE: Final = "null_value"
NULL_KEY: Final = "null_key"
OVERSIZE: Final = "oversize"
NOT_UTF8: Final = "not_utf8"
NOT_JSON: Final = "not_json"
NOT_FINITE: Final = "not_finite"
DUPLICATE_KEY: Final = "duplicate_key"
TOO_DEEP: Final = "too_deep"
NOT_AN_OBJECT: Final = "not_an_object"
UNKNOWN_TYPE: Final = "unknown_type"
UNKNOWN_VERSION: Final = "unknown_version"
MISSING_FIELD: Final = "missing_field"
UNKNOWN_FIELD: Final = "unknown_field"
WRONG_TYPE: Final = "wrong_type"
OUT_OF_RANGE: Final = "out_of_range"
BAD_IDENTIFIER: Final = "bad_identifier"
BAD_TIMESTAMP: Final = "bad_timestamp"
KEY_MISMATCH: Final = "key_mismatch"
COMMAND_MISSING: Final = "command_missing"
COMMAND_MISMATCH: Final = "command_mismatch"
MISPLACED_TWICE: Final = "misplaced_twice"
FORWARDED_BEFORE: Final = "forwarded_before"
VARIANT_LIMIT: Final = "variant_limit"
BATCH_TOO_LARGE: Final = "batch_too_large"
BATCH_DAMAGED: Final = "batch_damaged"
FOLD_FAILURE: Final = "fold_failure"
REFUSED: Final = "refused"
NOT_OTLP: Final = "not_otlp"
NOT_A_CLOUDEVENT: Final = "not_a_cloudevent"

MEANING: Final[dict[str, str]] = {
    NULL_VALUE: "the record has no value",
    NULL_KEY: "the record has no key; it must be agent_name/task_type",
    OVERSIZE: "the value is larger than 65,536 bytes",
    NOT_UTF8: "the value is not UTF-8",
    NOT_JSON: "the value is not JSON",
    NOT_FINITE: "a number is NaN, infinite or beyond what a double can hold",
    DUPLICATE_KEY: "an object names a field twice",
    TOO_DEEP: "the value is nested deeper than 16 levels",
    NOT_AN_OBJECT: "the value is JSON, but not an object",
    UNKNOWN_TYPE: "the field type does not name a message of this topic",
    UNKNOWN_VERSION: "the schema_version is not one that this release reads",
    MISSING_FIELD: "a required field is missing",
    UNKNOWN_FIELD: "a policy has a setting that this release does not know",
    WRONG_TYPE: "a field does not have the type that its schema requires",
    OUT_OF_RANGE: "a field has a value that its schema does not allow",
    BAD_IDENTIFIER: "a name does not match [A-Za-z0-9._:-]{1,128}",
    BAD_TIMESTAMP: "a timestamp is not RFC 3339 in UTC, ending in Z",
    KEY_MISMATCH: "the record's key is not the agent_name/task_type of its value",
    COMMAND_MISSING: "a reference names a command that does not exist",
    COMMAND_MISMATCH: "a reference does not match the command that it names",
    MISPLACED_TWICE: "a forwarded record arrived in the wrong partition a second time",
    FORWARDED_BEFORE: "a record was forwarded too long ago to tell whether it was applied before",
    VARIANT_LIMIT: "the task already has the maximum number of variants",
    BATCH_TOO_LARGE: "a compressed batch would unpack to more than 32 MiB; the letter is the batch, not a record",
    BATCH_DAMAGED: "a batch violates the protocol; the letter is the batch, not a record",
    FOLD_FAILURE: "the engine failed on this record; please report this bug",
    REFUSED: "the engine refused the record",
    NOT_OTLP: "the value is not an OTLP message of the configured signal and encoding",
    NOT_A_CLOUDEVENT: "the record is not a CloudEvent in structured or binary mode",
}
"""The meaning of each reason, for the contract and for people."""
