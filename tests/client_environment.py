"""A fresh virtual environment that has what ``pip install crl-stream`` brings, and nothing else.

It can be made without a network: the wheel is built from this checkout, and the packages of ``requirements/client.txt``
are copied from the environment that runs the tests, which has the same versions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from source_tree import ROOT

PINS = ROOT / "requirements" / "client.txt"


class ClientEnvironment:
    """The environment in ``folder``."""

    def __init__(self, folder: Path) -> None:
        scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        self.folder, self.python, self.crl = folder, scripts / "python", scripts / "crl"
        asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.packages = Path(self.run("-c", asked).stdout.strip())

    def run(self, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run this environment's Python outside the checkout, without the caller's settings."""
        return self._run([self.python, *arguments], cwd, variables)

    def run_crl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this environment's command ``crl``."""
        return self._run([self.crl, *arguments], None, {})

    def _run(
        self, command: list[Path | str], cwd: Path | None, variables: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=cwd or self.folder,
            env=outside_the_checkout() | variables,
            check=False,
        )


def outside_the_checkout() -> dict[str, str]:
    """Return the environment of a process that knows neither this checkout nor the caller's settings."""
    left_out = ("CRL_", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def pinned() -> dict[str, str]:
    """Return name and version of every package in the client's pins that this Python needs."""
    found = {}
    for name, version, marker in re.findall(
        r"^([\w.-]+)==([^ ;\\]+)(?: ; ([^\\]+?))? \\$", PINS.read_text(encoding="utf-8"), re.MULTILINE
    ):
        if not marker or Marker(marker).evaluate():
            found[canonicalize_name(name)] = version
    return found


def needed() -> dict[str, str]:
    """Return name and version of every package that the metadata of the client's direct requirements lead to."""
    waiting = [Requirement(line.removeprefix("# direct: ")) for line in _lines() if line.startswith("# direct: ")]
    found: dict[str, str] = {}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        installed = distribution(name)
        found[name] = installed.version
        waiting += map(Requirement, installed.requires or ())
    return found


def _lines() -> list[str]:
    return PINS.read_text(encoding="utf-8").splitlines()


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout."""
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"]
    subprocess.run([sys.executable, *words, folder, ROOT], env=outside_the_checkout(), check=True)
    [wheel] = folder.glob("crl_stream-*.whl")
    return wheel


def make_from_files(folder: Path, wheel: Path) -> ClientEnvironment:
    """Make the environment from files of this machine, for this Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    made = ClientEnvironment(folder)
    for name, version in pinned().items():
        found = distribution(name)
        assert found.version == version, f"{name} {found.version} is installed, but {version} is pinned"
        _copy(found, made.packages)
    install(made, "--no-index", str(wheel))
    subprocess.run([made.python, "-m", "compileall", "-q", made.packages], env=outside_the_checkout(), check=True)
    return made


def make_from_index(folder: Path, wheel: Path, python: str) -> ClientEnvironment:
    """Make the environment for the given Python with packages from the index that pip uses on this machine."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], env=outside_the_checkout(), check=True)
    made = ClientEnvironment(folder)
    install(made, "--require-hashes", "-r", str(PINS))
    install(made, "--no-index", str(wheel))
    return made


def install(environment: ClientEnvironment, *words: str) -> None:
    """Install exactly what ``words`` name, with the pip of the tests, because a venv's own pip would be counted."""
    pip = ["-m", "pip", "--python", str(environment.python), "install", "--quiet", "--no-deps", "--retries", "1"]
    done = subprocess.run(
        [sys.executable, *pip, *words], env=outside_the_checkout(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotInstalled(done.stderr[-2_000:])


class NotInstalled(Exception):
    """pip's reason why something could not be installed."""

    @property
    def no_index(self) -> bool:
        """Whether the reason is that no package index could be reached."""
        return re.search(r"NewConnectionError|NameResolutionError|ConnectTimeout|Connection to", str(self)) is not None


def _copy(found: Distribution, packages: Path) -> None:
    for file in found.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found.locate_file(file), target)
