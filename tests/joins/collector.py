"""A real OpenTelemetry Collector with the Kafka exporter (``scripts/collector``)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from crl_stream.broker.ports import free_port
from joins.environments import python_of


def program() -> Path:
    """Return the Collector, or skip the test with the command that builds it."""
    found = python_of("bridges").parent / "otelcol"
    if not found.exists():
        pytest.skip("needs a real Collector: scripts/collector builds it with Go, in several minutes")
    return found


def a_page(kafka: str, port: int, exporter: dict[str, object]) -> str:
    """Return settings of a Collector that receives at ``port`` and writes to Kafka."""
    page = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"kafka": {"brokers": kafka.split(",")} | exporter},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {signal: {"receivers": ["otlp"], "exporters": ["kafka"]} for signal in ("traces", "logs")},
        },
    }
    return json.dumps(page)  # YAML accepts JSON


@asynccontextmanager
async def collector(kafka: str, folder: Path, exporter: dict[str, object]) -> AsyncIterator[str]:
    """Run a Collector that writes to Kafka; yields the URL to which spans are sent over HTTP."""
    port = free_port("127.0.0.1")
    settings = folder / "collector.yaml"
    settings.write_text(a_page(kafka, port, exporter), encoding="utf-8")
    async with running(settings, folder, port, {}) as url:
        yield url


@asynccontextmanager
async def running(settings: Path, folder: Path, port: int, environment: dict[str, str]) -> AsyncIterator[str]:
    """Run a Collector with a settings file until the block ends."""
    log = folder / "collector.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program(), f"--config={settings}", stdout=output, stderr=output, env=os.environ | environment
        )
    try:
        async with asyncio.timeout(60):
            while True:
                assert process.returncode is None, log.read_text(encoding="utf-8")[-2000:]
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
