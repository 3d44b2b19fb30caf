"""``pip install crl-stream`` brings what an agent's runtime needs and no more, and that is enough to join a fleet."""

from __future__ import annotations

import ast
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

import client_environment
import pytest
from client_environment import ClientEnvironment, NotInstalled, outside_the_checkout
from installation import Installation

from crl_stream import __main__ as program

MOST_PACKAGES: Final = 12
MOST_BYTES: Final = 20_500_000
MOST_TIMES_AIOKAFKA: Final = 1.3
TIMES: Final = 15
"""How often each import is measured in a fresh process."""
NOT_FOR_CLIENTS: Final = {"aiohttp", "croniter", "faust", "jgo", "mode", "psutil", "pydantic", "rich", "typer"}
POSIX_ONLY: Final = ("fcntl", "grp", "pwd", "resource", "syslog", "termios", "tty")
PYTHONS: Final = ("python3.11", "python3.12", "python3.13", "python3.14")

JOINS = """
import json, sys, time
from crl_stream.client import Client

with Client(runtime_id="small", strict=True) as crl:
    until = time.monotonic() + 60.0
    with crl.invocation("small", "join", default="v1") as inv:
        inv.quality = 1.0
    while crl.resolver.resolve("small", "join") is None and time.monotonic() < until:
        crl.resolver.wait_until_ready(1.0)
        time.sleep(0.05)
    found = crl.resolver.resolve("small", "join", default="none")
stats = crl.publisher.stats
loaded = sorted(name for name in sys.modules if name.startswith("crl_stream"))
print(json.dumps({"variant": found.variant_id, "source": found.source, "epoch": found.epoch,
                  "sent": stats.sent, "lost": stats.dropped + stats.rejected, "loaded": loaded}))
"""
"""An agent that publishes its first outcome and waits until the monitor has made its variant the active one."""

AS_ON_WINDOWS = (
    f"""
import asyncio, multiprocessing, os, signal, subprocess, sys, tempfile

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {POSIX_ONLY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

# The standard library of this machine has used these modules already; from now on they do not exist.
sys.meta_path.insert(0, Missing())
for name in {POSIX_ONLY!r}:
    sys.modules.pop(name, None)
for name in ("fork", "getuid", "geteuid", "getgid", "getpgid", "register_at_fork", "setsid", "killpg", "O_CLOEXEC"):
    delattr(os, name)

def refuse(*_):
    raise AssertionError("a signal handler is installed")

signal.signal = asyncio.SelectorEventLoop.add_signal_handler = refuse
"""
    + JOINS
)

IMPORT = "import time; began = time.process_time(); import {0}; print(time.process_time() - began)"


def say(figures: str) -> None:
    """Write figures for those who run the tests with ``-s``, or whose test fails."""
    sys.stdout.write(f"{figures}\n")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_environment.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[ClientEnvironment]:
    """A fresh environment with only the client, without a network."""
    folder = tmp_path_factory.mktemp("client")
    yield client_environment.make_from_files(folder, wheel)
    shutil.rmtree(folder)


def test_the_pins_are_what_the_client_and_its_requirements_ask_for() -> None:
    assert client_environment.pinned() == client_environment.needed()


def test_an_installation_without_extras_needs_only_the_clients_requirements(wheel: Path) -> None:
    with ZipFile(wheel) as opened:
        [path] = [name for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = opened.read(path).decode()
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    without_extras = {
        line.split()[1].partition("<")[0].partition(">")[0] for line in required if "extra ==" not in line
    }
    assert without_extras == {"aiokafka", "cramjam", "msgspec", "orjson"}
    for extra in ("worker", "broker", "rocksdb", "otel", "notify", "export"):
        assert f"Provides-Extra: {extra}\n" in metadata


def test_it_is_few_packages_and_little_space(client: ClientEnvironment) -> None:
    code = "from importlib.metadata import distributions; print(*(d.metadata['Name'] for d in distributions()))"
    names = client.run("-c", code).stdout.split()
    size = sum(path.stat().st_size for path in client.packages.rglob("*") if path.is_file())
    say(f"{len(names)} packages, {size / 1e6:.1f} MB: {sorted(names)}")
    assert len(names) <= MOST_PACKAGES
    assert size <= MOST_BYTES


def test_importing_the_client_imports_no_part_of_the_worker(client: ClientEnvironment) -> None:
    code = "import sys, crl_stream.client; print(*sys.modules)"
    done = client.run("-c", code)
    assert done.returncode == 0, done.stderr
    names = set(done.stdout.split())
    own = [name for name in names if name.startswith("crl_stream")]
    say(f"{len(own)} modules of crl_stream, {len(names)} in all")
    assert names & NOT_FOR_CLIENTS == set()
    parts = {name.split(".")[1] for name in names if name.startswith("crl_stream.")}
    assert parts <= {"client", "core", "errors", "kafka", "visible", "wire"}
    assert names & {"crl_stream.core.policy", "crl_stream.core.messages.commands", "crl_stream.wire.codec"} == set()


def test_importing_the_client_takes_hardly_longer_than_importing_aiokafka(client: ClientEnvironment) -> None:
    """Each import is measured in fresh processes, in turn, by the processor's time: other programs disturb it least."""
    ratios = []
    for _ in range(3):
        seconds: dict[str, list[float]] = {"aiokafka": [], "crl_stream.client": []}
        for _ in range(TIMES):
            for name, found in seconds.items():
                found.append(float(client.run("-c", IMPORT.format(name)).stdout))
        alone, whole = map(statistics.median, seconds.values())
        ratios.append(whole / alone)
        say(f"aiokafka {alone * 1e3:.0f} ms, crl_stream.client {whole * 1e3:.0f} ms: {ratios[-1]:.2f} times")
        if ratios[-1] <= MOST_TIMES_AIOKAFKA:
            return
    pytest.fail(
        f"importing the client took {min(ratios):.2f} times as long as importing aiokafka, in the best of 3 runs"
    )


async def joins(installation: Installation, python: ClientEnvironment, code: str, folder: Path) -> dict[str, Any]:
    """Run an agent against a fleet with one worker, and return what it reports."""
    await installation.worker()
    variables = {
        "CRL_BOOTSTRAP_SERVERS": installation.kafka.bootstrap_servers,
        "CRL_KAFKA_TOPIC_PREFIX": installation.kafka.topic_prefix,
        "CRL_CLIENT_CACHE_DIR": str(folder),
    }
    done = python.run("-c", code, cwd=folder, **variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def test_a_runtime_with_only_the_client_publishes_and_resolves(
    installation: Installation, client: ClientEnvironment, tmp_path: Path
) -> None:
    found = await joins(installation, client, JOINS, tmp_path)
    assert (found["variant"], found["source"], found["epoch"]) == ("v1", "live", 1)
    assert (found["sent"], found["lost"]) == (1, 0)


async def test_a_runtime_needs_nothing_that_only_posix_systems_have(
    installation: Installation, client: ClientEnvironment, tmp_path: Path
) -> None:
    """The same on a machine without fork, user ids, signal handlers and POSIX's modules, as Windows is."""
    found = await joins(installation, client, AS_ON_WINDOWS, tmp_path)
    assert (found["variant"], found["source"], found["sent"], found["lost"]) == ("v1", "live", 1, 0)
    importers = {name for name in found["loaded"] if _imports(client, name) & {*POSIX_ONLY, "signal"}}
    # It asks for the user's home, and for a profile folder where there is no such module.
    assert importers == {"crl_stream.settings.user_folders"}


def _imports(client: ClientEnvironment, module: str) -> set[str]:
    """Return the top-level names that a module of the installation imports anywhere in its file."""
    path = client.packages.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_without_an_address_a_client_without_posix_modules_says_that_there_is_no_kafka(
    client: ClientEnvironment, tmp_path: Path
) -> None:
    """Only the embedded broker needs such modules, and it is never there without them."""
    code = AS_ON_WINDOWS.partition("import json, sys, time")[0] + (
        "import logging, time\nlogging.basicConfig()\nfrom crl_stream.client import Client\n"
        "with Client() as crl:\n"
        "    with crl.invocation('a', 't', default='v1') as inv: print(inv.variant_id)\n"
        "    until = time.monotonic() + 30\n"
        "    while not crl.health().trouble and time.monotonic() < until: time.sleep(0.01)\n"
    )
    done = client.run("-c", code, cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "v1\n"), done.stderr
    assert "no Kafka is configured" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_client_alone_knows_the_names_of_all_settings(client: ClientEnvironment) -> None:
    code = "from crl_stream.settings import load_client_settings; print(*load_client_settings().notes)"
    done = client.run("-c", code, CRL_WORKER_WEB_PORTS="1", CRL_WORKER_WEB_PORT="none of a client's business")
    expected = "not a setting, and ignored: CRL_WORKER_WEB_PORTS (the nearest name is CRL_WORKER_WEB_PORT)\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr


@pytest.mark.parametrize("arguments", [(), ("--help",), ("status",), ("--version",)])
def test_the_command_says_in_one_line_what_to_install(client: ClientEnvironment, arguments: tuple[str, ...]) -> None:
    for done in (client.run_crl(*arguments), client.run("-m", "crl_stream", *arguments)):
        assert (done.returncode, done.stdout, done.stderr) == (1, "", program.MISSING)
    assert 'pip install "crl-stream[worker]"' in program.MISSING
    assert program.MISSING.count("\n") == 1


def test_a_fault_in_the_program_itself_is_not_taken_for_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crl_stream.cli", None)
    with pytest.raises(ModuleNotFoundError, match=r"crl_stream\.cli"):
        program.main()


@pytest.mark.parametrize("name", PYTHONS)
async def test_the_pinned_packages_of_an_index_are_enough_on_every_python(
    installation: Installation, wheel: Path, tmp_path: Path, name: str
) -> None:
    """``pip install --no-deps --require-hashes`` of the pins, and the wheel: for each Python of this machine."""
    python = _interpreter(name)
    try:
        made = client_environment.make_from_index(tmp_path / "venv", wheel, python)
    except NotInstalled as reason:
        if reason.no_index:
            pytest.skip("THE PINNED PACKAGES WERE NOT INSTALLED: no package index can be reached")
        raise
    found = await joins(installation, made, JOINS, tmp_path)
    assert (found["variant"], found["source"], found["sent"], found["lost"]) == ("v1", "live", 1, 0)


def _interpreter(name: str) -> str:
    """Return a Python that runs and can make environments, from the PATH or from pyenv, or skip the test."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    version = name.removeprefix("python")
    asked = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    for found in (shutil.which(name), *sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/{name}")))):
        if found is not None:
            done = subprocess.run(
                [found, "-c", asked], env=outside_the_checkout(), capture_output=True, text=True, check=False
            )
            if done.stdout.strip() == version:
                return found
    pytest.skip(f"the client was NOT TESTED on {name}, which is not on this machine")
