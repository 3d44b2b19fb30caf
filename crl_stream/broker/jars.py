"""Kafka's jars: each is pinned by its SHA-256, fetched once, verified and cached.

A jar gets its final name only after its bytes are verified, so an interrupted download leaves nothing that could be
mistaken for a jar.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

from crl_stream.errors import BrokerError

KAFKA_VERSION: Final = "4.3.1"
PINS: Final = Path(__file__).with_name("kafka-jars.txt")
MIRROR: Final = "CRL_MAVEN_MIRROR"
"""Environment variable with the URL of a Maven repository to use instead of Maven Central."""
_AT_ONCE: Final = 4
_TIMEOUT_SECONDS: Final = 30

Progress = Callable[[str, int, int], None]
"""Called with a label, the amount done so far, and the total."""


class Pin(NamedTuple):
    """One jar of Kafka, with its Maven coordinates and its hash."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Return the jar's file name in the cache."""
        return f"{self.artifact}-{self.version}.jar"


def read_pins(path: Path = PINS) -> list[Pin]:
    """Return the jars listed in a file of pins (by default the broker's), in class-path order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Pin(*line.split()) for line in lines if line and not line.startswith("#")]


def quiet(_what: str, _done: int, _total: int) -> None:
    """Ignore progress."""


def fetch(
    cache: Path, progress: Progress = quiet, *, path: Path = PINS, what: str = f"Kafka {KAFKA_VERSION} (43 MB, once)"
) -> list[Path]:
    """Return the paths of the jars, downloading those that are not cached; raises ``BrokerError`` with a hint.

    ``cache`` is the cache folder and ``path`` a file of pins. ``progress`` is called during the download with ``what``
    as its label. A cached file is trusted by its name, because it gets that name only after verification.
    """
    folder = cache / f"kafka-{KAFKA_VERSION}"
    pins = read_pins(path)
    paths = [folder / pin.file_name for pin in pins]
    if all(path.is_file() for path in paths):
        return paths
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder / ".lock"):
            missing = [pin for pin in pins if not (folder / pin.file_name).is_file()]
            _fetch_missing(folder, missing, progress, what)
    except OSError as error:
        raise _no_place(folder, error) from error
    return paths


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Make a second start wait for the first, so that the second finds the jars in the cache."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch_missing(folder: Path, missing: list[Pin], progress: Progress, what: str) -> None:
    if not missing:
        return
    incoming = folder / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    _trust_the_named_authorities()
    progress(what, 0, len(missing))
    waiting, results = deque(missing), SimpleQueue[BaseException | None]()

    def work() -> None:
        while waiting:
            with suppress(IndexError):  # another thread is fetching the last jar
                pin = waiting.popleft()
                try:
                    _fetch_one(pin, incoming, folder)
                except BaseException as error:
                    results.put(error)
                else:
                    results.put(None)

    # Not a pool: a program that exits waits for a pool's threads, so Ctrl-C would have to wait for slow downloads.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(_AT_ONCE)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, len(missing) + 1):
            if (error := results.get()) is not None:
                raise error  # noqa: TRY301 - a thread's error is raised where the thread is awaited
            progress(what, number, len(missing))
    except Exception:
        waiting.clear()
        for thread in threads:
            thread.join()
        raise
    finally:
        waiting.clear()
        shutil.rmtree(incoming, ignore_errors=True)


def _trust_the_named_authorities() -> None:
    """Make ``requests`` trust the CA bundle named in variables of OpenSSL or pip; company proxies may need it."""
    if not any(os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")):
        named = (os.environ.get(name) for name in ("SSL_CERT_FILE", "PIP_CERT"))
        if bundle := next((path for path in named if path and Path(path).is_file()), None):
            os.environ["REQUESTS_CA_BUNDLE"] = bundle


def _fetch_one(pin: Pin, incoming: Path, folder: Path) -> None:
    try:
        import requests
        from jgo.maven import MavenContext, PythonResolver
    except ModuleNotFoundError as error:
        raise BrokerError(
            f"The embedded broker cannot be used: the package {error.name} is not installed.",
            hint="run `pip install crl-stream[broker]`, or set CRL_BOOTSTRAP_SERVERS=host:9092 to use your own Kafka",
        ) from error
    mirror = os.environ.get(MIRROR)
    repositories = {"mirror": mirror.rstrip("/")} if mirror else None
    # Each jar has a separate cache, so that jgo's parallel downloads cannot interfere with each other.
    cache = incoming / pin.artifact
    context = MavenContext(
        resolver=PythonResolver(), repo_cache=cache, remote_repos=repositories, timeout=_TIMEOUT_SECONDS
    )
    artifact = context.project(pin.group, pin.artifact).at_version(pin.version).artifact()
    try:
        found = artifact.resolve()
    except requests.RequestException as error:
        raise BrokerError(
            f"Kafka {KAFKA_VERSION} cannot be downloaded: {type(error).__name__} for {pin.file_name}.",
            hint="check the network (HTTPS_PROXY, SSL_CERT_FILE), set "
            f"{MIRROR} to use another Maven repository, or set CRL_BOOTSTRAP_SERVERS to use your own Kafka",
        ) from error
    except RuntimeError as error:
        raise BrokerError(
            f"The Maven repository has no intact copy of {pin.group}:{pin.artifact}:{pin.version}.",
            hint=f"try again, or set {MIRROR} to another repository",
        ) from error
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    if digest != pin.sha256:
        raise BrokerError(
            f"The downloaded {pin.file_name} differs from the one this release of crl-stream expects.",
            hint=f"a proxy or mirror may have changed it: try again, or set {MIRROR} to another repository",
        )
    with suppress(FileNotFoundError):
        (folder / pin.file_name).unlink()
    found.replace(folder / pin.file_name)


def _no_place(folder: Path, error: OSError) -> BrokerError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return BrokerError(
            f"No space is left for Kafka's jars in {folder}.",
            hint="free 50 MB, or choose another folder with CRL_CLIENT_CACHE_DIR",
        )
    return BrokerError(
        f"Kafka's jars cannot be stored in {folder}: {error.strerror or error}.",
        hint="make the folder writable, or choose another one with CRL_CLIENT_CACHE_DIR",
    )
