"""Where ``crl export --output`` writes: only to files, never in place of a device, a pipe or a symbolic link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crl_stream.cli.export.unfinished import Asked, Note, Unfinished
from crl_stream.errors import UsageError

NOTE = Note(Asked("outcomes", "csv", None, None, None, None, "cluster", ""), {}, [])


def test_a_pipe_or_a_device_is_refused_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(UsageError, match="is not a file"):
            Unfinished(path).__enter__()
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_symbolic_link_stays_and_the_file_that_it_names_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "real.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    with Unfinished(link) as file:
        file.append(b"new", NOTE)
        file.finish()
    assert link.is_symlink()
    assert target.read_text() == "new"
