"""The example bridge ``jobs``: the settings accept it, and what it maps is accepted by the log."""

from __future__ import annotations

import json
from typing import Any

from bridges.otlp import mapped, written

from crl_stream.settings.bridges import resolve_bridges
from crl_stream.settings.origin import Origin

JOB = {"number": 7, "job": "nightly report", "release": "2.1", "ok": True}


def outputs(job: dict[str, Any]) -> list[Any]:
    value = json.dumps(job).encode()
    return written(mapped("jobs", value), value)


def test_it_is_a_kind_with_settings_of_its_own() -> None:
    layers = [(f"bridges.night.{name}", Origin(value, "crl.toml")) for name, value in {"kind": "jobs"}.items()]
    options = resolve_bridges(layers).usable["night"]
    assert options.source() == "finished-jobs"


def test_a_job_is_an_outcome_and_a_repetition_has_the_same_id() -> None:
    [output] = outputs(JOB)
    assert output.key == b"scheduler/nightly-report"
    assert outputs(JOB) == outputs(JOB)
    assert json.loads(outputs(JOB | {"ok": False})[0].value)["status"] == "failure"


def test_what_it_cannot_map_is_a_letter() -> None:
    for wrong in ({"number": None}, {"job": "数"}, {"release": []}):
        [output] = outputs(JOB | wrong)
        assert output.topic == "crl.dead-letters"
