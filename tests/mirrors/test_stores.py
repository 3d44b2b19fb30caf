"""Whatever a prompt store answers, and even if it does not, there is one clear error without a secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from crl_stream.core.mirroring.label import Seen
from crl_stream.mirrors.http import MAX_BYTES
from crl_stream.mirrors.langfuse import LangfuseLabels
from crl_stream.mirrors.mlflow import MLflowAliases
from crl_stream.mirrors.store import LabelStore, Refused, Silent, names_in
from crl_stream.settings.model import Langfuse, MLflow

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
SECRET = "sk-hush-hush"
LONG = json.dumps(
    {
        "version": 10**30,
        "registered_model": {
            "tags": [7, {"key": "mlflow.prompt.is_prompt"}],
            "aliases": [7, {}, {"alias": "production", "version": "9" * 400}],
        },
    }
).encode()
"""A version that would not fit into a record."""


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[list[LabelStore]]:
    """Run a store that answers everything in one way; yield a client of each kind."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    stores: list[LabelStore] = [
        LangfuseLabels(Langfuse.model_validate({"host": host, "secret_key": SECRET, "timeout_seconds": 0.5})),
        MLflowAliases(MLflow.model_validate({"host": host, "token": SECRET, "timeout_seconds": 0.5})),
    ]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()
        await runner.cleanup()


def body(data: bytes, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=data, status=status, content_type="application/json")

    return answer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>login</html>",
        b"[]",
        b"null",
        b'"ok"',
        b"{}",
        b'{"version": "1"}',
        b'{"version": true}',
        LONG,
        b'{"registered_model": 3}',
        b'{"registered_model": {"tags": 7}}',
        b"[" * 100_000,
        b"x" * (MAX_BYTES + 1),
    ],
    ids=range(13),
)
async def test_an_answer_that_is_not_what_the_api_promises_is_silence(data: bytes) -> None:
    async with answering(body(data)) as stores:
        for store in stores:
            with pytest.raises((Silent, Refused)) as error:
                await store.look("refund")
            assert SECRET not in str(error.value)


async def test_a_store_that_does_not_answer_in_time_is_silent_and_the_move_is_uncertain() -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with answering(never) as stores:
        for store in stores:
            with pytest.raises(Silent, match=r"no answer within 0\.5 s"):
                await store.move("refund", "2")


async def test_a_store_that_trickles_is_cut_off() -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(600):
            await response.write(b" ")
            await asyncio.sleep(0.1)
        return response

    async with answering(trickle) as stores:
        for store in stores:
            with pytest.raises(Silent, match="no answer within"):
                await store.look("refund")


@pytest.mark.parametrize("status", [301, 307, 401, 403, 429, 500, 503])
async def test_trouble_of_the_store_is_silence_and_redirects_are_not_followed(status: int) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=status, headers={"location": "/elsewhere"})

    async with answering(answer) as stores:
        for store in stores:
            with pytest.raises(Silent, match=str(status)):
                await store.look("refund")
    assert "/elsewhere" not in seen


async def test_no_server_at_all_is_silence(unused_tcp_port: int) -> None:
    store = MLflowAliases(MLflow(host=f"http://127.0.0.1:{unused_tcp_port}"))
    with pytest.raises(Silent, match="cannot be reached"):
        await store.look("refund")
    await store.close()


async def test_a_refused_move_says_why_in_one_line() -> None:
    async with answering(body(b'{"message": "no\\n such  version\\u001b[2J"}', status=404)) as stores:
        for store in stores:
            with pytest.raises(Refused) as error:
                await store.move("refund", "77")
            assert str(error.value) == "it answered 404: no such version\\x1b[2J"


async def test_a_page_that_says_404_is_not_a_prompt_without_a_label() -> None:
    async with answering(body(b"<html>not here</html>", status=404)) as stores:
        for store in stores:
            with pytest.raises(Silent, match="is the address right"):
                await store.look("refund")


async def test_a_registered_model_of_the_same_name_is_no_prompt() -> None:
    async with answering(body(b'{"registered_model": {"name": "refund", "aliases": []}}')) as stores:
        with pytest.raises(Refused, match="refund is a registered model and not a prompt"):
            await stores[1].look("refund")


async def test_names_with_slashes_and_queries_reach_the_prompt_they_name() -> None:
    seen: list[tuple[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.raw_path, await request.json() if request.can_read_body else None))
        return web.json_response({"error_code": "RESOURCE_DOES_NOT_EXIST"}, status=404)

    async with answering(answer) as stores:
        for store in stores:
            assert await store.look("a/b?c=1&d#e") == Seen(None)
    assert seen[0][0].startswith("/api/public/v2/prompts/a%2Fb%3Fc%3D1%26d%23e?")
    assert seen[1][0] == "/api/2.0/mlflow/registered-models/get?name=a/b?c%3D1%26d%23e"


def test_people_are_named_by_labels_that_begin_with_by() -> None:
    labels = ["by-alice", "production", "by-", "by-b b", "by-" + "x" * 65, "by-bob@example.com", "latest"]
    assert names_in(labels) == ("alice", "bob@example.com")
