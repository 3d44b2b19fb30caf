"""The guide's scripts may run in a stranger's folder: they read the environment and a named file, not one they find."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import environment_of_this_checkout

from crl_stream.errors import ConfigError
from crl_stream.guide import store as store_module
from crl_stream.guide.store import Store
from crl_stream.settings import load_script_settings

TRAP = (
    '[kafka]\nbootstrap_servers = "evil:9092"\n[telemetry]\nfolder = "elsewhere"\n'
    "[degradation]\nlookback_window = 7\n[proposer]\nmodifications_file = '/etc/passwd'\n"
)


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a current folder with a file from someone else."""
    (tmp_path / "crl.toml").write_text(TRAP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("CRL_CONFIG", "CRL_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CRL_KAFKA_SASL_PASSWORD", "secret")
    monkeypatch.setenv("CRL_BROKER_DATA_DIR", str(tmp_path / "no-broker"))
    return tmp_path


def test_a_file_of_the_current_folder_decides_nothing_and_a_line_says_so(strangers: Path) -> None:
    found = load_script_settings()
    assert found.settings.kafka.bootstrap_servers == ""
    assert str(found.settings.telemetry.folder) == "telemetry/crl"
    assert found.settings.policies.default.degradation.lookback_window == 20
    assert found.settings.proposer.modifications is None
    [note] = found.notes
    assert "CRL_CONFIG=crl.toml" in note


def test_the_same_file_counts_whole_once_it_is_named(strangers: Path) -> None:
    found = load_script_settings(environment={"CRL_CONFIG": "crl.toml"})
    assert found.settings.kafka.bootstrap_servers == "evil:9092"
    assert found.settings.policies.default.degradation.lookback_window == 7
    assert found.notes == ()


def test_the_environment_lies_over_a_named_file_and_arguments_over_both(strangers: Path) -> None:
    environment = {
        "CRL_CONFIG": "crl.toml",
        "CRL_BOOTSTRAP_SERVERS": "mine:1",
        "CRL_DEGRADATION_LOOKBACK_WINDOW": "30",
        "CRL_PROFILE": "conservative",
    }
    found = load_script_settings(environment=environment).settings
    assert (found.kafka.bootstrap_servers, found.profile) == ("mine:1", "conservative")
    assert found.policies.default.degradation.lookback_window == 30
    assert found.policies.default.auto_apply.min_samples == 20
    over = load_script_settings(environment=environment, flags={"kafka.bootstrap_servers": "flag:1"}).settings
    assert over.kafka.bootstrap_servers == "flag:1"


@pytest.mark.parametrize(
    "page",
    [
        "[worker]\nweb_port = 'none'\n",
        "[notifiers.pager]\nkind = 'webhook'\n",
        "[review]\nschedule = 'never'\n",
        "[nonsense]\na = 1\n",
    ],
)
def test_what_concerns_workers_and_notifiers_does_not_concern_a_script(tmp_path: Path, page: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(page + "[kafka]\nbootstrap_servers = 'here:1'\n", encoding="utf-8")
    assert load_script_settings(file=file, environment={}).settings.kafka.bootstrap_servers == "here:1"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("[degradation]\nlookback_window = 'many'\n", "degradation.lookback_window"),
        ("[kafka]\npartitions = 'many'\n", "kafka.partitions"),
        ("profile = 'unheard-of'\n", "unheard-of"),
        ("[telemetry]\nfolders = 'x'\n", "telemetry.folders"),
    ],
)
def test_what_is_wrong_with_what_a_script_reads_is_an_error_that_names_it(
    tmp_path: Path, page: str, words: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(page, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_script_settings(file=file, environment={})


def test_a_variable_that_is_no_setting_is_a_note_and_stops_no_script() -> None:
    [note] = load_script_settings(environment={"CRL_BOOTSTRAP_SERVER": "a:1"}).notes
    assert "CRL_BOOTSTRAP_SERVERS" in note


def test_neither_way_to_a_store_is_redirected(strangers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Recorder:
        def __init__(self, settings: object, _timeout: float) -> None:
            asked.append(settings)

        def close(self) -> None:
            """Do nothing, because nothing is open."""

    monkeypatch.setattr("crl_stream.guide.live.Live", Recorder)
    monkeypatch.setattr(store_module, "_default", None)
    Store.connect().close()
    [settings] = asked
    assert settings.kafka.bootstrap_servers == ""  # type: ignore[attr-defined]
    with Store.default() as store:
        assert type(store.source).__name__ == "Memory"
    assert len(asked) == 1


def test_a_program_in_such_a_folder_says_it_in_one_line(strangers: Path) -> None:
    environment = environment_of_this_checkout() | {"CRL_BROKER_DATA_DIR": str(strangers / "no-broker")}
    done = subprocess.run(
        [sys.executable, "-c", "from crl_stream.guide.store import Store; Store.default().close()"],
        cwd=strangers,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "crl.toml in this folder is not read" in line
    assert not (strangers / "elsewhere").exists()
