"""What the hook for the Claude Agent SDK guarantees.

The SDK talks to its command-line program over a transport. Here it is a transport of its own kind that answers the
SDK's control requests and plays a script of messages, in the format of the program.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ProcessError, ResultMessage, Transport
from outcomes import AGENT, TASK, recorded

from crl_stream.hooks.claude_agent import CrlMessages

WAITS = object()
"""A step of a script that never ends."""


class ScriptedTransport(Transport):
    """Plays one list of messages for each prompt that it gets."""

    def __init__(self, *turns: list[Any]) -> None:
        self.turns = list(turns)
        self.options: Any = None
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    async def connect(self) -> None:
        pass

    async def write(self, data: str) -> None:
        message = json.loads(data)
        if message["type"] == "control_request":
            response = {"subtype": "success", "request_id": message["request_id"], "response": {}}
            self._queue.put_nowait({"type": "control_response", "response": response})
        elif message["type"] == "user" and self.turns:
            for step in self.turns.pop(0):
                self._queue.put_nowait(step)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            step = await self._queue.get()
            if step is None:
                return
            if isinstance(step, Exception):
                raise step
            if step is WAITS:
                await asyncio.sleep(60)
            yield step

    async def close(self) -> None:
        self._queue.put_nowait(None)

    def is_ready(self) -> bool:
        return True

    async def end_input(self) -> None:
        self._queue.put_nowait(None)


def says(text: str, **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "model": "claude-x", "content": [{"type": "text", "text": text}]}
    return {"type": "assistant", "message": message, "session_id": "session-7"} | fields


def result(**fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 4, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 1, "output_tokens": 3}
    return {
        "type": "result",
        "subtype": "success",
        "duration_ms": 20,
        "duration_api_ms": 15,
        "is_error": False,
        "num_turns": 2,
        "session_id": "session-7",
        "total_cost_usd": 0.25,
        "usage": usage,
        "result": "done",
        "uuid": "message-1",
    } | fields


async def read(stream: AsyncIterator[Any]) -> list[Any]:
    return [message async for message in stream]


def test_a_query_is_one_outcome_with_its_variant_session_tokens_cost_and_turns() -> None:
    async def main() -> None:
        crl.activate("v2", {"prompt": "be kind"})
        hook = CrlMessages(crl.client, AGENT, TASK, default="v1")
        prompts = []

        def options() -> ClaudeAgentOptions:
            prompts.append(hook.configuration["prompt"])
            return ClaudeAgentOptions(system_prompt=prompts[0])

        transport = ScriptedTransport([says("Hello."), result(), {"type": "system", "subtype": "status"}])
        messages = await read(hook.query(prompt="Where?", options=options, transport=transport))
        assert isinstance(messages[1], ResultMessage)
        assert prompts == ["be kind"]
        found = crl.outcome
        assert (found["variant_id"], found["active_epoch"], found["status"]) == ("v2", 7, "success")
        assert (found["session_id"], found["tokens_input"], found["tokens_output"]) == ("session-7", 10, 3)
        assert (found["cost"], found["metrics"]) == (0.25, {"num_turns": 2.0})
        assert (found["provider"], found["model"], found["trace_id"]) == ("anthropic", "claude-x", "message-1")
        assert hook.current is None

    with recorded() as crl:
        asyncio.run(main())


def test_a_failed_call_of_the_api_is_an_error_that_names_the_provider() -> None:
    async def main() -> None:
        hook = CrlMessages(crl.client, AGENT, TASK, provider="bedrock")
        for status in (429, 500, 529):
            wrong = result(is_error=True, api_error_status=status, result="API Error")
            end = ProcessError("failed", exit_code=1)
            with pytest.raises(ProcessError):
                await read(hook.query(prompt="?", transport=ScriptedTransport([wrong, end])))
        assert [(found["status"], found["provider"]) for found in crl.outcomes] == [("error", "bedrock")] * 3
        assert [found["metrics"]["api_error_status"] for found in crl.outcomes] == [429, 500, 529]

    with recorded() as crl:
        asyncio.run(main())


def test_a_turn_that_reaches_its_limit_is_a_failure_and_one_that_breaks_off_an_error() -> None:
    async def main() -> None:
        hook = CrlMessages(crl.client, AGENT, TASK)
        limit = result(is_error=True, subtype="error_max_turns")
        broken = result(is_error=True, subtype="error_during_execution")
        for script in ([limit], [broken], [says("Hello."), None]):
            await read(hook.query(prompt="?", transport=ScriptedTransport(script)))
        with pytest.raises(ProcessError):
            await read(hook.query(prompt="?", transport=ScriptedTransport([ProcessError("died", exit_code=3)])))
        assert [found["status"] for found in crl.outcomes] == ["failure", "error", "error", "error"]

    with recorded() as crl:
        asyncio.run(main())


def test_cancelled_interrupted_and_unread_streams_are_abandoned() -> None:
    async def main() -> None:
        hook = CrlMessages(crl.client, AGENT, TASK)
        reading = asyncio.Event()

        async def wait() -> None:
            async for _ in hook.query(prompt="?", transport=ScriptedTransport([says("Hello."), WAITS])):
                reading.set()

        task = asyncio.create_task(wait())
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (crl.outcomes, crl.abandoned) == ([], 1)
        stopped = result(is_error=True, subtype="error_during_execution", terminal_reason="aborted_streaming")
        await read(hook.query(prompt="?", transport=ScriptedTransport([stopped])))
        assert (crl.outcomes, crl.abandoned) == ([], 2)
        stream = hook.query(prompt="?", transport=ScriptedTransport([says("Hello."), WAITS]))
        async for _ in stream:
            break
        await read(hook.query(prompt="?", transport=ScriptedTransport([result()])))
        assert crl.outcome["status"] == "success"
        await stream.aclose()
        gc.collect()
        assert (len(crl.outcomes), crl.abandoned) == (1, 3)

    with recorded() as crl:
        asyncio.run(main())


def test_each_turn_of_a_conversation_is_one_outcome_with_its_own_cost() -> None:
    async def main() -> None:
        hook = CrlMessages(crl.client, AGENT, TASK)
        transport = ScriptedTransport(
            [says("One."), result(total_cost_usd=0.25)], [says("Two."), result(total_cost_usd=0.75)]
        )
        async with ClaudeSDKClient(transport=transport) as conversation:
            for prompt in ("1?", "2?"):
                await conversation.query(prompt)
                await read(hook.receive_response(conversation, session_id="chat-3"))
        assert [(found["session_id"], found["cost"], found["tokens_input"]) for found in crl.outcomes] == [
            ("chat-3", 0.25, 10),
            ("chat-3", 0.5, 10),
        ]

    with recorded() as crl:
        asyncio.run(main())


def test_several_prompts_in_one_stream_are_one_outcome_each() -> None:
    async def prompts() -> AsyncIterator[dict[str, Any]]:
        for text in ("1?", "2?"):
            yield {"type": "user", "message": {"role": "user", "content": text}, "session_id": ""}

    async def main() -> None:
        hook = CrlMessages(crl.client, AGENT, TASK)
        transport = ScriptedTransport(
            [says("One."), result(total_cost_usd=0.25)], [says("Two."), result(total_cost_usd=0.75)]
        )
        await read(hook.query(prompt=prompts(), transport=transport))
        assert [found["cost"] for found in crl.outcomes] == [0.25, 0.5]

    with recorded() as crl:
        asyncio.run(main())


def test_subagents_and_retried_tools_are_part_of_the_turn() -> None:
    async def main() -> None:
        hook = CrlMessages(crl.client, AGENT, TASK)
        wrong = {"type": "tool_result", "tool_use_id": "t1", "content": "no such file", "is_error": True}
        told = {"type": "user", "message": {"role": "user", "content": [wrong]}, "session_id": "session-7"}
        inner = says("I look.", parent_tool_use_id="t0")
        transport = ScriptedTransport([says("Let us see."), inner, told, told, says("Done."), result()])
        await read(hook.query(prompt="?", transport=transport))
        assert (crl.outcome["status"], crl.outcome["error_count"]) == ("success", 2)

    with recorded() as crl:
        asyncio.run(main())


def test_a_nested_query_of_the_same_hook_is_part_of_the_block_and_one_of_another_hook_is_its_own() -> None:
    async def main() -> None:
        hook, own = CrlMessages(crl.client, AGENT, TASK), CrlMessages(crl.client, "researcher", TASK)
        with hook.invocation("job-9"):
            for one in (hook, hook, own):
                await read(one.query(prompt="?", transport=ScriptedTransport([result()])))
        found = [(outcome["agent_name"], outcome["tokens_input"], outcome["cost"]) for outcome in crl.outcomes]
        assert found == [("researcher", 10, 0.25), (AGENT, 20, 0.5)]

    with recorded() as crl:
        asyncio.run(main())


def test_concurrent_conversations_of_one_hook_do_not_mix() -> None:
    async def main() -> None:
        hook = CrlMessages(crl.client, AGENT, TASK)

        async def run(number: int) -> None:
            transport = ScriptedTransport([says("x"), result(total_cost_usd=float(number))])
            await read(hook.query(prompt="?", transport=transport, session_id=f"s{number}"))

        await asyncio.gather(*map(run, range(20)))
        assert sorted((found["session_id"], found["cost"]) for found in crl.outcomes) == sorted(
            (f"s{number}", float(number)) for number in range(20)
        )

    with recorded() as crl:
        asyncio.run(main())


def test_an_error_of_the_hook_itself_does_not_reach_the_agent_and_is_logged() -> None:
    async def main() -> None:
        hook = CrlMessages(crl.client, AGENT, TASK)
        crl.client.invocation = None  # type: ignore[assignment, method-assign]
        messages = await read(hook.query(prompt="?", transport=ScriptedTransport([says("unharmed"), result()])))
        assert len(messages) == 2
        assert "CrlMessages failed: TypeError" in crl.trouble

    with recorded() as crl:
        asyncio.run(main())
