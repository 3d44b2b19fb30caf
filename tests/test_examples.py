"""The example programs report errors as clearly as the product does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli.program import Program
from source_tree import ROOT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "name a task and the new variant"), (["a/t", "v"], "This example needs the package gepa: pip install gepa")],
)
def test_an_optimiser_that_cannot_begin_says_what_is_missing(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "08_optimiser_proposes.py"), *arguments],
        env=Program(tmp_path).environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no address", "host.invalid:9092"])
def test_rollbacks_cannot_be_followed_without_kafka_and_that_is_a_sentence_with_a_hint(
    tmp_path: Path, address: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "follow_rollbacks.py"), address],
        env=Program(tmp_path).environment,
        capture_output=True,
        text=True,
        check=False,
    )
    sentence, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (69, "")
    assert address in sentence
    assert hint.startswith("hint: crl broker status ")
