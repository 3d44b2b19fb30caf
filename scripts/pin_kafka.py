"""Pin Kafka's jars: resolve the version that ``crl_stream.broker.jars`` names and write the hash of every jar.

    pin_kafka.py     writes crl_stream/broker/kafka-jars.txt, and the extra jars of Kafka Streams for `make bench`

Run it when the version changes, and review the diff: `crl broker` runs exactly the jars listed there.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from jgo.maven import Dependency, MavenContext, PythonResolver

from crl_stream.broker.jars import KAFKA_VERSION, PINS

GROUP = "org.apache.kafka"
LOGGING = ("org.apache.logging.log4j", "log4j-core", "log4j-slf4j-impl")
"""Maven group, log4j core, and its SLF4J binding.  The binding connects the broker's SLF4J 1.7 to the core and must
have the same version.  Kafka's distribution adds it to the broker's own dependencies.  Without it, the broker logs
nothing at all."""
STREAMS = Path(__file__).resolve().parent.parent / "benchmarks" / "contestants" / "kafka_streams" / "jars.txt"


def resolve(artifact_id: str) -> list[str]:
    """Return one line for each jar that a Kafka artifact needs, starting with its own."""
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(resolver=PythonResolver(), repo_cache=Path(folder))
        root = Dependency(context.project(GROUP, artifact_id).at_version(KAFKA_VERSION).artifact())
        _, needed = context.resolver.resolve([root])
        lines = []
        for dependency in [root, *needed]:
            if dependency.scope in {"compile", "runtime", None}:
                artifact = dependency.artifact
                digest = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
                lines.append(f"{artifact.groupId} {artifact.artifactId} {artifact.version} {digest}")
                print(lines[-1])
    return [lines[0], *sorted(lines[1:])]


def binding(broker: list[str]) -> str:
    """Return the line of the jar that connects the broker's log to log4j."""
    group, core, binding = LOGGING
    version = next(line.split()[2] for line in broker if line.startswith(f"{group} {core} "))
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(resolver=PythonResolver(), repo_cache=Path(folder))
        jar = context.project(group, binding).at_version(version).artifact().resolve()
        digest = hashlib.sha256(jar.read_bytes()).hexdigest()
    line = f"{group} {binding} {version} {digest}"
    print(line)
    return line


def main() -> int:
    """Resolve, download and hash the jars."""
    broker = resolve("kafka_2.13")
    broker = [broker[0], *sorted([*broker[1:], binding(broker)])]
    header = f"# Apache Kafka {KAFKA_VERSION} and the jars it needs: group, artifact, version, SHA-256 of the jar\n"
    PINS.write_text(header + "\n".join(broker) + "\n", encoding="utf-8")
    beyond = [line for line in resolve("kafka-streams") if line not in broker]
    header = (
        f"# Kafka Streams {KAFKA_VERSION} without the broker's jars: group, artifact, version, SHA-256 of the jar\n"
    )
    STREAMS.write_text(header + "\n".join(beyond) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
