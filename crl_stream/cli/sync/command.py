"""``crl sync``: keep a file with the active variants up to date."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec.structs import replace

from crl_stream.cli.silence import KafkaSilence
from crl_stream.cli.sync.documents import FORMATS, without_configuration
from crl_stream.cli.sync.follower import Follower, stopped
from crl_stream.cli.talk import say
from crl_stream.cli.whole_file import WholeFile
from crl_stream.client.following import View
from crl_stream.client.resolver import STALE_SECONDS
from crl_stream.core.identity import TaskKey
from crl_stream.errors import Unavailable, UsageError
from crl_stream.settings import Settings

_LOOK_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 5.0
"""Seconds after which a failed write is repeated."""
_TASKS: Final = (b'"variant_id"', b'"defaultVariant"')
"""What a file with at least one task contains."""


class Format(StrEnum):
    """The formats of the file."""

    flagd = "flagd"
    json = "json"
    yaml = "yaml"


def sync(
    context: typer.Context,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The file to keep up to date.")],
    kind: Annotated[
        Format, typer.Option("--format", help="flagd: flags for flagd's file mode; json, yaml: plain data.")
    ] = Format.json,
    once: Annotated[bool, typer.Option("--once", help="Write the file and end.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="With --once: seconds to wait for Kafka.")] = 20.0,
) -> None:
    """Write the active variants, their weights and configurations to a file, and keep it up to date until Ctrl-C.

    The file is replaced as a whole, and only when something has changed. While Kafka does not answer, the file keeps
    its last state. Runtimes without Kafka read the file themselves or through flagd. Send their outcomes with crl
    publish.
    """
    if str(to) == "-":
        raise UsageError("--to names a file; - is not one.", hint="write a file with --once, and print it")
    writer = _Writer(to, kind.value)
    asyncio.run(_sync(context.obj.connected, writer, once=once, timeout=timeout))


class _Writer:
    """Writes the file when its content would change, and says so."""

    def __init__(self, to: Path, kind: str) -> None:
        self.file, self._kind = WholeFile(to), kind
        try:
            self.file.check()
            self.file.remove_leftovers()
            self._written = self.file.read()
        except OSError as error:
            raise UsageError(
                f"{to} cannot be written: {error.strerror or error}.", hint="--to names a file in a writable folder"
            ) from None
        self._before: dict[TaskKey, tuple[str, dict[str, int] | None]] | None = None
        """The active variants and weights that were written last; None at the beginning."""
        self._left_out: list[str] = []
        self._failed = False

    def write(self, view: View) -> bool:
        """Write the file if its content changes; return False if that failed and must be repeated."""
        if not view.active and self._written is not None and any(mark in self._written for mark in _TASKS):
            # Topics that were deleted by mistake must not take the fleet back to its defaults.
            say(f"Kafka knows no active variant; {self.file.path} keeps its last state (delete it to start again)")
            return True
        content = FORMATS[self._kind](view).encode()
        if content != self._written:
            try:
                self.file.replace(content)
            except OSError as error:
                if not self._failed:
                    say(f"{self.file.path} cannot be written: {error.strerror or error}; it keeps its last state")
                self._failed = True
                return False
            self._written, self._failed = content, False
            say(f"wrote {self.file.path}: {self._changes(view)}")
        elif self._before is None:
            say(f"{self.file.path} is up to date")
        self._before = {key: (one.variant_id, one.weights) for key, one in view.active.items()}
        self._say_left_out(view)
        return True

    def _changes(self, view: View) -> str:
        """Return what changed, in words: up to three tasks by name."""
        tasks = "1 task" if len(view.active) == 1 else f"{len(view.active)} tasks"
        if self._before is None:
            return tasks
        changed = []
        for key, one in sorted(view.active.items()):
            before = self._before.get(key)
            if before is None or before[0] != one.variant_id:
                why = "" if one.rollback_id is None else f" ({one.rollback_id})"
                changed.append(f"{key} uses {one.variant_id}, epoch {one.epoch}{why}")
            elif before[1] != one.weights:
                changed.append(f"{key} has other weights")
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        return "; ".join(changed[:3]) + more if changed else f"{tasks}, other details changed"

    def _say_left_out(self, view: View) -> None:
        left_out = without_configuration(view) if self._kind == "flagd" else []
        new = [task for task in left_out if task not in self._left_out]
        self._left_out = left_out
        if new:
            names = ", ".join(new[:3]) + (f" and {len(new) - 3} more" if len(new) > 3 else "")
            say(f"without a configuration of the active variant, there is only the flag AGENT/TASK/variant for {names}")


async def _sync(settings: Settings, writer: _Writer, *, once: bool, timeout: float) -> None:
    where = settings.kafka.bootstrap_servers
    follower = Follower(settings)
    following = asyncio.create_task(follower.follow())
    try:
        if once:
            await _write_once(follower, writer, where, timeout)
            return
        say(f"following the active variants for {writer.file.path}; Ctrl-C stops it")
        silence = KafkaSilence(where, f"{writer.file.path} keeps its last state")
        await _write_always(follower, writer, silence)
    finally:
        await stopped(following)


async def _write_once(follower: Follower, writer: _Writer, where: str, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            await follower.changed.wait()
    except TimeoutError:
        why = f" ({found})" if (found := follower.trouble or follower.failure) else ""
        raise Unavailable(
            f"Kafka at {where} did not answer within {timeout:g} s{why}; {writer.file.path} was not changed.",
            hint="is it running, and do its topics exist (crl topics diff)?",
        ) from None
    assert follower.view is not None
    if not await asyncio.to_thread(writer.write, follower.view):
        raise Unavailable(f"{writer.file.path} was not changed.", hint="free some space, or write elsewhere")


async def _write_always(follower: Follower, writer: _Writer, silence: KafkaSilence) -> None:
    failed_at: float | None = None
    said, alone = "", False
    while True:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await follower.changed.wait()
        except TimeoutError:
            silence.note(follower.silence)
        if follower.trouble != said and (said := follower.trouble):
            say(said)
        was_alone, alone = alone, follower.silence >= STALE_SECONDS
        again = failed_at is not None and time.monotonic() - failed_at >= _AGAIN_SECONDS
        if follower.view is not None and (follower.changed.is_set() or again or (alone and not was_alone)):
            follower.changed.clear()
            view = _without_weights(follower.view) if alone else follower.view
            # A copy, because the follower goes on reading while a slow disk is written.
            view = View(dict(view.active), dict(view.known))
            failed_at = None if await asyncio.to_thread(writer.write, view) else time.monotonic()


def _without_weights(view: View) -> View:
    """Return a view in which everyone uses the active variant: without Kafka, an aborted rollout would go unnoticed."""
    return View({key: replace(active, weights=None) for key, active in view.active.items()}, view.known)
