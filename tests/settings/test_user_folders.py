"""Any user can load settings anywhere, with or without a home."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crl_stream.settings import load_settings, user_folders
from crl_stream.settings.user_folders import stand_in, user_folder, without_home

SCRIPT = "from crl_stream.settings import load_settings as l; s = l(environment={}); print(s.client.cache_dir)"
DATA = ("XDG_DATA_HOME", ".local/share")


@pytest.fixture(autouse=True)
def _a_process_that_has_said_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(user_folders, "_said", [])
    stand_in.cache_clear()
    yield
    stand_in.cache_clear()


def without_any_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> Any:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_an_unknown_user_without_a_home_has_a_folder_of_its_own_in_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_any_home(monkeypatch)
    settings = load_settings(environment={})
    own = tmp_path / f"crl-stream-{os.getuid()}"
    assert settings.client.cache_dir == own / "cache"
    assert settings.worker.data_dir == own / "data" / "worker"
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    load_settings(environment={})
    assert len(caplog.records) == 1, "said once a process"
    assert str(own) in caplog.text and "set HOME" in caplog.text
    assert without_home() == caplog.records[0].message


def test_with_a_home_nothing_is_made_and_nothing_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_folder(*DATA) == tmp_path / ".local/share" / "crl-stream"
    assert list(tmp_path.iterdir()) == []
    assert without_home() is None


@pytest.mark.parametrize("home", ["", "relative/home", "/dev/null", "/dev/null/home"])
def test_a_home_where_no_folder_can_be_is_as_good_as_none(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_any_home(monkeypatch)
    monkeypatch.setenv("HOME", home)
    assert tmp_path in user_folder(*DATA).parents
    assert without_home() is not None


def test_a_folder_of_the_environment_counts_when_it_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_any_home(monkeypatch)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert user_folder(*DATA) == tmp_path / "data" / "crl-stream"
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert user_folder(*DATA) == stand_in() / "data"


def test_a_folder_that_someone_else_may_write_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_any_home(monkeypatch)
    prepared = tmp_path / f"crl-stream-{os.getuid()}"
    prepared.mkdir()
    prepared.chmod(0o777)
    used = user_folder(*DATA)
    assert prepared not in used.parents
    assert stat.S_IMODE(used.parent.stat().st_mode) == 0o700


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_any_home(monkeypatch)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / f"crl-stream-{os.getuid()}").symlink_to(elsewhere)
    assert user_folder(*DATA).parent not in {elsewhere, tmp_path / f"crl-stream-{os.getuid()}"}


def test_where_nothing_can_be_written_at_all_settings_are_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    without_any_home(monkeypatch)
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null/nowhere")
    assert load_settings(environment={}).client.cache_dir.is_absolute()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_id_that_the_machine_does_not_know_reads_settings(tmp_path: Path) -> None:
    """The user has no HOME and no entry in passwd, as in a container."""

    become = "import os, sys; os.setgroups([]); os.setgid(54321); os.setuid(54321); "
    # Import the module before switching users, because the other user may be unable to read this checkout.
    program = "import crl_stream.settings.layers; " + become + SCRIPT
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(user_folders.__file__).parents[2])},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parts[-2:] == ("crl-stream-54321", "cache")
