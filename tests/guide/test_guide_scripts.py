"""Every script in docs/guide-scripts.md runs, in the order of the page, as a newcomer or cron would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import ROOT, environment_of_this_checkout

PAGE = (ROOT / "docs" / "guide-scripts.md").read_text(encoding="utf-8")
SCRIPTS = {
    name: text for text, name in re.findall(r"^```python\n(# (\w+\.py)\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}
ONCE = """
class Once:
    def every(self, count):
        return self
    minutes = property(lambda self: self)
    def do(self, job):
        self.job = job
    def run_pending(self):
        self.job()
        raise SystemExit
_once = Once()
every, run_pending = _once.every, _once.run_pending
"""
"""A replacement for the package ``schedule`` that calls the job once."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a copy of every script on the page."""
    for name, text in SCRIPTS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "schedule.py").write_text(ONCE, encoding="utf-8")
    return tmp_path


def run(folder: Path, script: str) -> str:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    own = {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "XDG_CACHE_HOME": str(home / "cache")}
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env=environment_of_this_checkout() | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_every_python_block_of_the_page_is_a_script_that_is_run_here() -> None:
    assert PAGE.count("```python") == len(SCRIPTS)
    assert list(SCRIPTS) == ["record.py", "auto_apply.py", "monitor.py", "background.py", "weekly.py"]


def test_the_page_runs_from_top_to_bottom(folder: Path) -> None:
    assert run(folder, "record.py") == "recorded\n"
    ready = run(folder, "auto_apply.py")
    assert "backend-architect/api-design api-optimized: no_action (Already the default variant)" in ready
    told = run(folder, "monitor.py")
    assert re.fullmatch(r"rb-\d{8}-[0-9a-f]{12}: default -> api-optimized, .+ dropped .+\n", told)
    assert run(folder, "monitor.py") == "", "each rollback is reported once, however often cron runs"
    assert run(folder, "background.py") == ""
    assert run(folder, "weekly.py").startswith("Generated ")
    assert (folder / "proposals.csv").read_text(encoding="utf-8").startswith("proposal_id,agent_name,task_type,")
    kept = {path.name for path in (folder / "telemetry" / "crl").iterdir()}
    assert {"figures.sqlite3", "rollback_events.jsonl", "variant_proposals.jsonl"} <= kept


def test_figures_grow_from_process_to_process(folder: Path) -> None:
    run(folder, "record.py")
    first = run(folder, "auto_apply.py")
    run(folder, "record.py")
    assert run(folder, "auto_apply.py") != first


def test_every_name_that_the_guide_leaves_open_is_supplied_on_the_page() -> None:
    for name in ("get_active_variants", "send_alert", "schedule", "export_to_spreadsheet", "datetime", "timedelta"):
        assert f"`{name}" in PAGE
