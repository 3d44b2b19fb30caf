"""Where a store keeps its data for later processes, and which store is shared by objects that are built without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from source_tree import environment_of_this_checkout

from crl_stream.errors import ConfigError, Unavailable
from crl_stream.guide.rollback_manager import RollbackManager
from crl_stream.guide.safety_monitor import SafetyMonitor
from crl_stream.guide.store import Store
from crl_stream.telemetry import TelemetryFiles
from guide.world import WHO, active_of, collapsed, lines_of, record, replaced


# -- the folder ------------------------------------------------------------------------------------
def test_a_folder_has_one_writer_and_any_number_of_readers(folder: Path) -> None:
    with Store(folder) as writer, Store(folder) as reader:
        collapsed(writer)
        assert len(RollbackManager(store=reader).get_rollback_history()) == 1
        program = (
            "from crl_stream.guide.store import Store\n"
            "from crl_stream.errors import UsageError\n"
            f"store = Store({str(folder)!r})\n"
            "try:\n"
            "    store.record({'agent_name': 'a', 'task_type': 't', 'variant_id': 'v', 'status': 'success'})\n"
            "except UsageError as error:\n"
            "    print('refused:', error)\n"
        )
        result = run(program, folder.parent)
        assert result.startswith("refused: Another process writes")


def test_a_disk_that_is_full_costs_no_outcome_and_the_event_is_written_when_there_is_room(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> int:
        raise Unavailable("The telemetry files cannot be written: no space left on device.")

    replaced(store)
    with monkeypatch.context() as patched:
        patched.setattr(TelemetryFiles, "append", full)
        record(store, "api-optimized", "F" * 10, active_epoch=2, reward=-1.0)
        assert active_of(store) == "default"
        assert lines_of(folder, "rollback_events.jsonl") == []
    assert "no space left" in caplog.text
    written = list[int]()
    append = TelemetryFiles.append
    monkeypatch.setattr(TelemetryFiles, "append", lambda files, events: written.append(append(files, events)))
    record(store, "default", "SSS", active_epoch=3)
    assert written == [1]
    assert len(lines_of(folder, "rollback_events.jsonl")) == 1


def test_whoever_only_reads_makes_no_folder(folder: Path) -> None:
    with Store(folder) as store:
        assert RollbackManager(store=store).get_rollback_history() == []
        assert SafetyMonitor(store=store).check_performance_degradation(*WHO, "v")[0] is False
    assert not folder.exists()


# -- the default store -----------------------------------------------------------------------------
def run(program: str, folder: Path, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=environment_of_this_checkout() | environment,
    )
    return result.stdout


def test_the_default_store_writes_into_the_guides_folder(tmp_path: Path) -> None:
    run(
        "from crl_stream.guide.store import Store\n"
        "Store.default().record({'agent_name': 'x', 'task_type': 't', 'variant_id': 'v', 'status': 'success'})",
        tmp_path,
    )
    assert sorted(p.name for p in (tmp_path / "telemetry" / "crl").glob("*.jsonl")) == [
        "rollback_events.jsonl",
        "variant_proposals.jsonl",
    ]


def test_the_default_store_has_the_policy_of_the_settings(tmp_path: Path) -> None:
    """The thresholds of the guide's "initial deployment" are .95 and 20."""
    asked = (
        "from crl_stream.guide.safety_monitor import SafetyMonitor\n"
        "m = SafetyMonitor()\n"
        "print(*(m.should_auto_apply_variant('a', 't', 'v', q, n)[0] for q, n in [(0.94, 30), (0.95, 19), (0.95, 20)]))"
    )
    assert run(asked, tmp_path, CRL_PROFILE="conservative").split() == [
        "human_approval",
        "human_approval",
        "auto_apply",
    ]
    assert run(asked, tmp_path).split() == ["auto_apply"] * 3


def test_a_store_that_is_made_the_default_is_it_until_it_is_closed(store: Store) -> None:
    other = Store(None)
    assert other.make_default() is store
    assert SafetyMonitor().store is other
    other.close()
    assert SafetyMonitor().store is not other
    Store.default().close()
    store.make_default()


def test_a_store_asks_for_a_folder_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with Store(tmp_path / "file") as store, pytest.raises(ConfigError, match="cannot be written"):
        record(store, "v", "S")
