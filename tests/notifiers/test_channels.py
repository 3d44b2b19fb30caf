"""The file and Apprise channels deliver notices to real receivers."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crl_stream.errors import ConfigError
from crl_stream.notifiers.channels import KINDS
from crl_stream.notifiers.channels.apprise import AppriseChannel, AppriseOptions
from crl_stream.notifiers.channels.file import FileChannel, FileOptions
from crl_stream.notifiers.failures import Undelivered
from crl_stream.notifiers.notice import notice_of
from notifiers.receiver import Receiver
from notifiers.stage import an_example

NOTICE = notice_of(an_example("crl.alerts", "Alert-rollback"))


def test_the_kinds_are_the_files_of_the_folder() -> None:
    assert list(KINDS) == ["apprise", "file", "log", "webhook"]


# -- file ------------------------------------------------------------------------------------------
async def test_a_file_gets_one_line_per_notice_with_the_whole_message(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "alerts.jsonl"
    channel = FileChannel("audit", FileOptions(kind="file", path=path))
    await channel.send(NOTICE)
    path.write_bytes(path.read_bytes() + b'{"torn":')
    await channel.send(NOTICE)
    path.rename(path.with_suffix(".1"))
    await channel.send(NOTICE)
    lines = path.with_suffix(".1").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in (lines[0], lines[2])] == [NOTICE.id] * 2
    assert json.loads(path.read_text(encoding="utf-8"))["data"]["undo_command"].startswith("crl undo")


async def test_a_line_of_the_file_says_exactly_what_was_typed_and_does_nothing_on_a_terminal(tmp_path: Path) -> None:
    path, evil = tmp_path / "alerts.jsonl", "\x1b[2J\u202egnp\u009b31m\x7f\u200b<b>@everyone"
    channel = FileChannel("audit", FileOptions(kind="file", path=path))
    await channel.send(NOTICE._replace(data={"reason": evil}))
    line = path.read_text(encoding="utf-8")
    assert json.loads(line)["data"] == {"reason": evil}
    assert line.rstrip("\n").isprintable()


def test_a_file_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"notifiers\.audit\.path"):
        FileChannel("audit", FileOptions(kind="file", path=tmp_path))


async def test_a_file_that_can_no_longer_be_written_is_tried_again(tmp_path: Path) -> None:
    channel = FileChannel("audit", FileOptions(kind="file", path=tmp_path / "alerts.jsonl"))
    channel.path = tmp_path
    with pytest.raises(Undelivered):
        await channel.send(NOTICE)


# -- apprise ---------------------------------------------------------------------------------------
class FakeApprise(types.ModuleType):
    """The parts of Apprise 1.9 that the channel uses."""

    class NotifyType:
        INFO, SUCCESS, WARNING, FAILURE = "info", "success", "warning", "failure"

    class NotifyFormat:
        TEXT = "text"

    def __init__(self) -> None:
        super().__init__("apprise")
        self.sent: list[dict[str, Any]] = []
        self.takes = True
        outer = self

        class Apprise:
            def add(self, url: str) -> bool:
                return url.startswith("json://")

            async def async_notify(self, **message: Any) -> bool:
                outer.sent.append(message)
                return outer.takes

        self.Apprise = Apprise


async def test_apprise_is_handed_title_line_and_type(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeApprise()
    monkeypatch.setitem(sys.modules, "apprise", library)
    channel = AppriseChannel("chat", AppriseOptions(kind="apprise", url="json://example.com"))
    await channel.send(NOTICE)
    await channel.send(NOTICE._replace(severity="info", resolved=True))
    same = {"body": NOTICE.text, "body_format": "text"}
    assert library.sent == [
        {"title": f"critical: {NOTICE.subject}", "notify_type": "failure", **same},
        {"title": f"recovered: {NOTICE.subject}", "notify_type": "success", **same},
    ]
    library.takes = False
    with pytest.raises(Undelivered):
        await channel.send(NOTICE)
    await channel.close()


def test_an_address_that_apprise_does_not_know_is_a_wrong_setting_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", FakeApprise())
    with pytest.raises(ConfigError, match=r"notifiers\.chat\.url") as caught:
        AppriseChannel("chat", AppriseOptions(kind="apprise", url="slak://T0P-SECRET"))
    assert "T0P-SECRET" not in str(caught.value)


def test_without_apprise_one_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError) as caught:
        AppriseChannel("chat", AppriseOptions(kind="apprise", url="json://example.com"))
    assert caught.value.hint == "pip install crl-stream[notify]"


@pytest.mark.skipif(importlib.util.find_spec("apprise") is None, reason="Apprise is not installed: crl-stream[notify]")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from modules that Apprise imports
async def test_the_real_apprise_delivers_to_a_real_server(receiver: Receiver) -> None:
    url = receiver.url.replace("http://", "json://")
    channel = AppriseChannel("chat", AppriseOptions(kind="apprise", url=url))
    await channel.send(NOTICE)
    [(_, body)] = receiver.requests
    document = json.loads(body)
    assert (document["message"], document["type"]) == (NOTICE.text, "failure")
    receiver.answers = [lambda: web.Response(status=500)]
    with pytest.raises(Undelivered):
        await channel.send(NOTICE)
