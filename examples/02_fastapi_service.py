"""A web service whose agent is watched; lines that join crl-stream are marked `# joins`.

    pip install fastapi uvicorn
    uvicorn --app-dir examples 02_fastapi_service:app --port 8000
    curl -X POST 'http://127.0.0.1:8000/answer?session=anna' -d ''

It uses CRL_BOOTSTRAP_SERVERS, else the Kafka of `crl up`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from crl_stream.client import Client

DEFAULTS = {"model": "m-1", "temperature": 0.2}


async def call_the_model(configuration: dict[str, Any]) -> float:
    """Your agent goes here; this one only waits a moment and returns the quality of its answer."""
    await asyncio.sleep(0.01)
    return random.uniform(0.0, 0.3) if configuration["temperature"] > 1 else random.uniform(0.7, 1.0)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client for the life of the service."""
    async with Client() as app.state.crl:  # joins
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/answer")
async def answer(session: str) -> dict[str, Any]:
    """Answer one customer; a request that is cancelled is no outcome, and an exception is an error of the variant."""
    with app.state.crl.invocation("web-agent", "answer", default="calm", session_id=session) as inv:  # joins
        inv.quality = await call_the_model(inv.configuration or DEFAULTS)  # joins
        if inv.quality < 0.4:
            inv.failed()
    return {"variant": inv.variant_id, "epoch": inv.epoch, "quality": inv.quality}
