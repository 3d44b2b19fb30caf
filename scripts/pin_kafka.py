"""Pin Kafka's jars: resolve the version that ``crl_stream.broker.jars`` names and write the hash of every jar.

    pin_kafka.py     writes crl_stream/broker/kafka-jars.txt

Run it when the version changes, and read the difference: whatever is written here is what `crl broker` runs.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from jgo.maven import Dependency, MavenContext, PythonResolver

from crl_stream.broker.jars import KAFKA_VERSION, PINS


def main() -> int:
    """Resolve, download and hash."""
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(resolver=PythonResolver(), repo_cache=Path(folder))
        root = Dependency(context.project("org.apache.kafka", "kafka_2.13").at_version(KAFKA_VERSION).artifact())
        _, needed = context.resolver.resolve([root])
        lines = []
        for dependency in [root, *needed]:
            if dependency.scope in {"compile", "runtime", None}:
                artifact = dependency.artifact
                digest = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
                lines.append(f"{artifact.groupId} {artifact.artifactId} {artifact.version} {digest}")
                print(lines[-1])
    header = f"# Apache Kafka {KAFKA_VERSION} and what it runs with: group, artifact, version, SHA-256 of the jar\n"
    PINS.write_text(header + "\n".join([lines[0], *sorted(lines[1:])]) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
