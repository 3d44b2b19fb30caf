"""``crl calibrate`` measures policies with a file, gives the same result each time, and recommends settings."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import tomllib
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
from builders import AGENT, TASK
from calibration.worlds import bernoulli, invocations_of

from cli.program import Program, Result
from crl_stream.wire.codec import encode

NAME = f"{AGENT}/{TASK}"
QUICK = ("--tasks", "16", "--processes", "1", "--only-named")


def a_file(folder: Path, name: str = "outcomes.jsonl", collapse: int = 0) -> Path:
    """Write the outcomes of two variants; the active one collapses at the end."""
    random = Random(1)
    messages = invocations_of("v2", bernoulli(random, 0.85, 200), variant_source="explore")
    messages += invocations_of("v1", bernoulli(random, 0.85, 200) + [False] * collapse, variant_source="live")
    text = b"".join(encode(message) + b"\n" for message in messages)
    file = folder / name
    file.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return file


def calibrate(crl: Program, *arguments: str) -> Result:
    return crl.run("calibrate", NAME, *arguments, *QUICK)


def page(result: Result) -> dict[str, Any]:
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_the_same_call_says_the_same_and_only_another_seed_something_else(crl: Program) -> None:
    file = a_file(crl.folder).name
    first = page(calibrate(crl, "-f", file, "--json"))
    packed = a_file(crl.folder, "outcomes.jsonl.gz").name
    again = page(
        crl.run("calibrate", NAME, "-f", packed, "--json", "--tasks", "16", "--processes", "2", "--only-named")
    )
    assert again | {"source": file} == first, "the result depends neither on the number of processes nor on compression"
    assert first["seed"] == "1"
    other = page(calibrate(crl, "-f", file, "--json", "--seed", "2"))
    assert other["policies"] != first["policies"]
    assert other["history"] == first["history"]


def test_the_json_has_every_figure_with_its_interval(crl: Program) -> None:
    found = page(calibrate(crl, "-f", a_file(crl.folder).name, "--json"))
    assert found["task"] == NAME
    [present] = found["policies"]
    assert (present["name"], present["same_as"]) == ("present", [])
    for name in ("false_rollbacks_per_1000", "healthy_loss_per_1000", "harm_per_1000", "gain_over_present_per_1000"):
        assert present[name]["low"] <= present[name]["value"] <= present[name]["high"]
    assert [fall["to"] for fall in present["falls"]] == [0.75, 0.5, 0.0]
    assert all(0.0 <= fall["caught"]["low"] <= fall["caught"]["high"] <= 1.0 for fall in present["falls"])
    assert {variant["variant_id"]: variant["active"] for variant in found["history"]["variants"]} == {
        "v1": True,
        "v2": False,
    }
    assumed = found["assumptions"]
    assert (assumed["falls_per_10000"], assumed["false_rollback_budget_per_1000"]) == (1.0, 0.2)
    assert found["recommendation"]["conclusion"] in {"change", "keep", "undecided", "none_within_budget"}


def test_a_better_policy_of_a_file_is_recommended_with_settings_that_produce_it(crl: Program) -> None:
    (crl.folder / "careful.toml").write_text('profile = "production"\n', encoding="utf-8")
    plot = crl.folder / "plot.svg"
    arguments = ("-f", a_file(crl.folder).name, "--policy", "careful.toml")
    result = calibrate(crl, *arguments, "--json", "--plot", str(plot))
    advice = page(result)["recommendation"]
    assert (advice["conclusion"], advice["policy"]) == ("change", "careful")
    tomllib.loads(advice["fragment"])
    assert "careful" in plot.read_text(encoding="utf-8")
    (crl.folder / "crl.toml").write_text(advice["fragment"], encoding="utf-8")
    present, *others = page(calibrate(crl, *arguments, "--json"))["policies"]
    assert (present["same_as"], others) == (["careful"], []), "the measured policy is in force"


def test_a_person_reads_the_history_the_figures_and_what_to_do_in_80_columns(crl: Program) -> None:
    (crl.folder / "careful.toml").write_text('profile = "production"\n', encoding="utf-8")
    result = calibrate(crl, "-f", a_file(crl.folder, collapse=30).name, "--policy", "careful.toml")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == f"{NAME}: 430 outcomes from outcomes.jsonl"
    assert any(line.startswith("  v1 (active): ") and "of 230 outcomes" in line for line in lines)
    assert any("changes after outcome " in line and "-> 0%" in line for line in lines)
    assert "Change the policy: use careful." in lines
    assert f'[tasks."{NAME}".degradation]' in lines
    assert "seed 1, 16 tasks per policy" in result.err
    tables = [line for line in lines if line.startswith(("policy ", "present ", "careful "))]
    assert len(tables) == 8 and max(map(len, tables)) <= 80


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        ("other/task -f outcomes.jsonl", 4, "outcomes.jsonl has no outcomes of other/task"),
        (f"{NAME} -f outcomes.jsonl --active v9", 4, "its variants are v1, v2"),
        (f"{NAME} -f outcomes.jsonl --last 40", 2, "v1 has 40 outcomes; calibration needs 50"),
        (f"{NAME} -f outcomes.jsonl --plot plot.png", 2, "plot.png does not end with .svg"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_is_needed(crl: Program, call: str, code: int, words: str) -> None:
    a_file(crl.folder)
    result = crl.run("calibrate", *call.split())
    assert result.faults(code) == []
    assert words in result.err


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_however_a_simulation_in_several_processes_ends_it_leaves_none(
    crl: Program, ending: signal.Signals, code: int
) -> None:
    arguments = ("-f", a_file(crl.folder).name, "--tasks", "5000", "--processes", "2")
    process = crl.start("calibrate", NAME, *arguments, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        others = list[psutil.Process]()
        while len(others) < 2:
            assert process.poll() is None
            others = psutil.Process(process.pid).children()
        process.send_signal(ending)
        _, err = process.communicate(timeout=100)
        assert psutil.wait_procs(others, timeout=100)[1] == []
        assert process.returncode == code
        assert "Traceback" not in err.decode()
        if ending == signal.SIGINT:
            assert err.decode().splitlines()[-1] == "crl: Interrupted."
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
