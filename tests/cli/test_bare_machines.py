"""Every command and every role, on its own, on a machine where crl has never run."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from builders import invocations
from installation import Installation

from crl_stream.cli.worker import ROLES, SERVICES

from .bare_machines import BareMachine, why_no_stranger
from .program import commands
from .test_usage import full

pytestmark = pytest.mark.integration

LASTING = {"demo", "up", "worker"}
"""Commands that run until Ctrl-C; each has its own test below."""
EMPTY, READ_ONLY, HOMELESS = "an empty home", "a home that cannot be written to", "an unknown user without a home"
MACHINES = (EMPTY, READ_ONLY, HOMELESS)
UNCONFIGURED = {"bridge": "There is no bridge in the settings", "mirror": "No prompt store is configured"}
"""Roles that end at once without settings of their own, and what they say."""
NO_TELEMETRY = [
    "crl: The telemetry files cannot be written to telemetry/crl: Permission denied.",
    "hint: set telemetry.folder to another folder",
]
WORKS = {"publish", "status", "window", "hold", "resume", "rollbacks", "topics diff", "config show"}
"""Commands that succeed on a bare machine. Some of the others find nothing to act on, and report that."""
READY_SECONDS = 90.0


Machines = Callable[[str], BareMachine]


@pytest.fixture(params=MACHINES)
def machines(request: pytest.FixtureRequest, installation: Installation, tmp_path: Path) -> Machines:
    """Return a function that makes bare machines, with access to the tests' Kafka under a separate topic prefix."""
    settings = {
        "CRL_BOOTSTRAP_SERVERS": installation.kafka.bootstrap_servers,
        "CRL_KAFKA_TOPIC_PREFIX": installation.kafka.topic_prefix,
        "CRL_KAFKA_PARTITIONS": str(installation.kafka.partitions),
        "CRL_WORKER_APP_ID": installation.app_id,
    }
    reason = why_no_stranger() if request.param != EMPTY else None
    if request.param == HOMELESS and find_spec("crl_stream.settings.user_folders") is None:
        reason = "this checkout's settings need a home"
    if request.param == HOMELESS and reason:
        pytest.skip(f"NOT TRIED: {HOMELESS}: {reason}")

    def make(name: str) -> BareMachine:
        folder = tmp_path / name
        home = None if request.param == HOMELESS else folder / "home"
        machine = BareMachine(folder, home, stranger=request.param != EMPTY and not reason, settings=settings)
        if home is not None and request.param == READ_ONLY:
            home.chmod(0o555)
            machine.here.chmod(0o555)
        return machine

    return make


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def until_ready(process: subprocess.Popen[bytes], port: int) -> str:
    """Wait until the process is ready or ends; return its output if it has ended."""
    async with asyncio.timeout(READY_SECONDS):
        while process.poll() is None:
            if await asyncio.to_thread(ready, port):
                return ""
            await asyncio.sleep(0.1)
    assert process.stdout is not None
    return process.stdout.read().decode()


async def until_said(process: subprocess.Popen[bytes], word: str) -> str:
    """Read the output until it contains ``word`` or the process ends; stop the process and return the output."""
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(READY_SECONDS):
            while word not in said and (line := await asyncio.to_thread(process.stdout.readline)):
                said += line.decode()
    finally:
        await end(process)
    return said


async def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    out, _ = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, out.decode()


@pytest.fixture
async def worked(installation: Installation) -> AsyncIterator[dict[str, str]]:
    """Run a worker elsewhere, with a task that has outcomes; yield the setting for the port of its views."""
    worker = await installation.worker()
    await installation.publish(*invocations("v", "S" * 12, agent_name="a", task_type="t"))
    await installation.settled()
    yield {"CRL_WORKER_WEB_PORT": worker.url.rpartition(":")[2]}
    await worker.stop()


@pytest.mark.timeout(600)
async def test_every_command_works_or_says_what_to_do_where_crl_has_never_run(
    machines: Machines, worked: dict[str, str]
) -> None:
    machine = machines("bare")
    machine.environment |= worked
    names = [name for path in commands() if (name := " ".join(path)) not in LASTING]
    try:
        ended = await asyncio.to_thread(machine.run_all, [full(name) for name in names])
    finally:
        await asyncio.to_thread(machine.run_all, [["broker", "stop"]])
    assert {name: one.faults for name, one in zip(names, ended, strict=True) if one.faults} == {}
    codes = {name: one.code for name, one in zip(names, ended, strict=True)}
    assert {name: codes[name] for name in WORKS} == dict.fromkeys(WORKS, 0)
    # `config init` writes its file to the current folder and nowhere else.
    assert codes["config init"] == (0 if machine.may_write_here else 2)


async def test_every_role_of_a_worker_becomes_ready_or_says_what_it_cannot_write(machines: Machines) -> None:
    """All roles run at the same time, each on a separate bare machine, so none finds files made by another role."""
    started = {}
    for role in (*ROLES, SERVICES):
        port, machine = free_port(), machines(role)
        started[role] = machine, machine.start("worker", "--role", role, CRL_WORKER_WEB_PORT=str(port)), port
    try:
        said = await asyncio.gather(*(until_ready(process, port) for _, process, port in started.values()))
    finally:
        ends = await asyncio.gather(*(end(process) for _, process, _ in started.values()))
    for (role, (machine, _, _)), before, (code, rest) in zip(started.items(), said, ends, strict=True):
        assert "Traceback" not in before + rest, role
        if role in UNCONFIGURED:
            assert UNCONFIGURED[role] in before, f"{role}: {before}{rest}"
            assert code == 2, role
        elif not machine.may_write_here and role in {"files", SERVICES}:
            # The guide's files go into the current folder unless telemetry.folder names another.
            assert before.splitlines()[-2:] == NO_TELEMETRY, role
            assert code == 2, role
        else:
            assert (before, code) == ("", 0), f"{role}: {before}{rest}"


@pytest.mark.parametrize(("command", "ready"), [("up", "ready: "), ("demo", "A worker is ready")])
async def test_a_whole_installation_starts_where_crl_has_never_run(
    machines: Machines, command: str, ready: str
) -> None:
    machine = machines("bare")
    # Follow the hints where neither the current folder nor the home can be written.
    named = {"CRL_TELEMETRY_FOLDER": "telemetry", "CRL_WORKER_DATA_DIR": "worker"}
    named = {name: str(machine.scratch / folder) for name, folder in named.items()} if machine.stranger else {}
    process = machine.start(command, CRL_WORKER_WEB_PORT="0", **named)
    said = await until_said(process, ready)
    assert ready in said
    assert "Traceback" not in said


async def test_a_log_that_cannot_be_written_ends_the_demo_with_a_sentence_and_a_hint(
    installation: Installation, tmp_path: Path
) -> None:
    settings = {
        "CRL_BOOTSTRAP_SERVERS": installation.kafka.bootstrap_servers,
        "CRL_KAFKA_TOPIC_PREFIX": installation.kafka.topic_prefix,
    }
    machine = BareMachine(tmp_path / "bare", tmp_path / "bare" / "home", stranger=False, settings=settings)
    (tmp_path / "file").touch()
    process = machine.start("demo", CRL_WORKER_DATA_DIR=str(tmp_path / "file" / "folder"))
    said = await until_said(process, "A worker is ready")
    assert "cannot be written" in said
    assert said.splitlines()[-1].startswith("hint: ")
    assert "CRL_WORKER_DATA_DIR" in said.splitlines()[-1]
