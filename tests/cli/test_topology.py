"""``crl topology`` shows the pipeline on a terminal, for programs and as a diagram, without asking a server."""

from __future__ import annotations

import json

from cli.program import Program
from crl_stream.stages.topology import STAGES
from crl_stream.stages.topology_drawing import topology_json, topology_mermaid, topology_text


def test_the_pipeline_is_printed_without_any_kafka(crl: Program) -> None:
    result = crl.run("topology")
    assert (result.code, result.err) == (0, "")
    assert result.out == topology_text() + "\n"
    assert max(map(len, result.out.splitlines())) <= 80


def test_programs_get_the_same_as_json(crl: Program) -> None:
    result = crl.run("topology", "--json")
    assert result.code == 0
    assert json.loads(result.out) == topology_json()
    assert [stage["name"] for stage in json.loads(result.out)["stages"]] == [stage.name for stage in STAGES]


def test_the_flowchart_is_printed_as_it_stands_in_the_readme(crl: Program) -> None:
    result = crl.run("topology", "--mermaid")
    assert (result.code, result.out) == (0, topology_mermaid() + "\n")
