"""What the hook for pydantic-ai guarantees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span
from outcomes import AGENT, TASK, recorded
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ModelRetry, RunContext, UsageLimits
from pydantic_ai.capabilities import Hooks
from pydantic_ai.exceptions import ModelHTTPError, RunTimedOut, UsageLimitExceeded
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.usage import RequestUsage

from crl_stream.hooks.pydantic_ai import CrlHooks


def says(text: str) -> ModelResponse:
    return ModelResponse([TextPart(text)], usage=RequestUsage(input_tokens=10, output_tokens=3))


def calls(tool: str, **arguments: Any) -> ModelResponse:
    return ModelResponse([ToolCallPart(tool, arguments)], usage=RequestUsage(input_tokens=10, output_tokens=3))


def scripted(*steps: Any) -> FunctionModel:
    """Return a model that answers from a script; an exception is raised, and a function is awaited."""
    script = iter(steps)

    async def answer(*_: Any) -> ModelResponse:
        step = next(script)
        if isinstance(step, Exception):
            raise step
        return await step() if callable(step) else step

    async def stream(*_: Any) -> AsyncIterator[str]:
        for word in next(script).text.split(" "):
            yield word + " "

    return FunctionModel(answer, stream_function=stream, model_name="scripted")


def agent_of(hook: CrlHooks | None, *steps: Any, **options: Any) -> Agent:
    return Agent(scripted(*steps), capabilities=[] if hook is None else [hook], **options)


def test_a_run_is_one_outcome_with_its_variant_session_tokens_model_and_trace() -> None:
    with recorded() as crl:
        crl.activate("v2", {"prompt": "be kind"})
        hook = CrlHooks(crl.client, AGENT, TASK, default="v1")
        agent = agent_of(hook, says("It is on its way."), instructions=lambda: hook.configuration["prompt"])
        result = agent.run_sync("Where?", conversation_id="conversation-7")
        assert result.output == "It is on its way."
        assert result.all_messages()[0].instructions == "be kind"
        found = crl.outcome
        assert (found["variant_id"], found["active_epoch"], found["status"]) == ("v2", 7, "success")
        assert (found["session_id"], found["tokens_input"], found["tokens_output"]) == ("conversation-7", 10, 3)
        assert (found["provider"], found["model"], found["trace_id"]) == ("function", "scripted", result.run_id)
        assert hook.current is None


def test_the_trace_of_open_telemetry_is_named_if_there_is_one() -> None:
    with recorded() as crl:
        span = NonRecordingSpan(SpanContext(trace_id=0xABC, span_id=1, is_remote=False))
        with use_span(span):
            agent_of(CrlHooks(crl.client, AGENT, TASK), says("Yes.")).run_sync("?")
        assert crl.outcome["trace_id"] == f"{0xABC:032x}"


def test_the_cost_that_the_framework_knows_is_published() -> None:
    with recorded() as crl:
        hook = CrlHooks(crl.client, AGENT, TASK)
        response = says("Yes.")
        response.usage.cost = 0.25
        agent_of(hook, response).run_sync("?")
        assert crl.outcome["cost"] == 0.25


def test_a_stream_is_one_outcome_at_its_end() -> None:
    async def main() -> None:
        hook = CrlHooks(crl.client, AGENT, TASK)
        async with agent_of(hook, says("one two three")).run_stream("Count.") as stream:
            words = [word async for word in stream.stream_text(delta=True, debounce_by=None)]
            assert crl.outcomes == []
        assert len(words) > 1
        assert crl.outcome["status"] == "success"

    with recorded() as crl:
        asyncio.run(main())


def test_a_cancelled_run_and_a_stream_that_its_reader_leaves_are_abandoned() -> None:
    async def main() -> None:
        hook, started = CrlHooks(crl.client, AGENT, TASK), asyncio.Event()

        async def wait() -> ModelResponse:
            started.set()
            await asyncio.sleep(60)
            return says("never")

        run = asyncio.create_task(agent_of(hook, wait).run("?"))
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert (crl.outcomes, crl.abandoned) == ([], 1)
        async with agent_of(hook, says("never")).iter("?") as steps:
            async for _ in steps:
                break
        assert (crl.outcomes, crl.abandoned) == ([], 2)
        assert hook.current is None

    with recorded() as crl:
        asyncio.run(main())


def test_an_exception_is_an_error_and_reaches_the_caller() -> None:
    async def slow() -> ModelResponse:
        await asyncio.sleep(60)
        return says("never")

    with recorded() as crl:
        hook = CrlHooks(crl.client, AGENT, TASK)
        with pytest.raises(ModelHTTPError):
            agent_of(hook, ModelHTTPError(529, "scripted")).run_sync("?")
        with pytest.raises(UsageLimitExceeded):
            agent_of(hook, says("x")).run_sync("?", usage_limits=UsageLimits(output_tokens_limit=1))
        with pytest.raises(RunTimedOut):
            agent_of(hook, slow).run_sync("?", timeout=0.05)
        assert [(found["status"], found["error_count"]) for found in crl.outcomes] == [("error", 0)] * 3
        assert crl.outcomes[0]["provider"] == "function"


def test_an_error_that_another_capability_recovers_from_is_a_success() -> None:
    with recorded() as crl:
        hook = CrlHooks(crl.client, AGENT, TASK)
        other = Hooks()
        rescued = agent_of(None, says("rescued")).run_sync("?")

        @other.on.run_error
        async def rescue(_ctx: RunContext, *, error: BaseException) -> Any:
            return rescued

        agent = Agent(scripted(ConnectionError()), capabilities=[hook, other])
        assert agent.run_sync("?").output == "rescued"
        assert crl.outcome["status"] == "success"


def test_a_nested_agent_is_part_of_the_run_and_one_with_its_own_hook_is_its_own_invocation() -> None:
    with recorded() as crl:
        hook, own = CrlHooks(crl.client, AGENT, TASK), CrlHooks(crl.client, "researcher", TASK)
        outer = agent_of(hook, calls("ask"), says("Done."))

        @outer.tool
        async def ask(ctx: RunContext) -> str:
            await agent_of(hook, says("a")).run("?")
            await agent_of(own, says("b")).run("?", usage=ctx.usage)
            return "asked"

        outer.run_sync("?")
        found = [(outcome["agent_name"], outcome["tokens_input"]) for outcome in crl.outcomes]
        assert found == [("researcher", 10), (AGENT, 40)]


def test_retries_are_one_outcome_that_counts_the_errors_the_run_recovered_from() -> None:
    for counts, expected in ((True, 2), (False, 0)):
        with recorded() as crl:
            hook = CrlHooks(crl.client, AGENT, TASK, counts_errors=counts)
            agent = agent_of(hook, calls("look_up"), says("no"), says("No such order."))

            @agent.tool_plain
            def look_up() -> str:
                raise ModelRetry("no such order")

            @agent.output_validator
            def polite(text: str) -> str:
                if text == "no":
                    raise ModelRetry("Be polite.")
                return text

            agent.run_sync("?")
            assert (crl.outcome["status"], crl.outcome["error_count"]) == ("success", expected)
            assert crl.outcome["tokens_input"] == 30


def test_a_model_that_falls_back_to_another_one_is_one_outcome() -> None:
    with recorded() as crl:
        hook = CrlHooks(crl.client, AGENT, TASK)
        model = FallbackModel(scripted(ModelHTTPError(529, "first")), scripted(says("from the second")))
        assert Agent(model, capabilities=[hook]).run_sync("?").output == "from the second"
        assert crl.outcome["status"] == "success"


def test_a_run_that_waits_for_an_approval_has_no_outcome_until_it_goes_on() -> None:
    with recorded() as crl:
        hook = CrlHooks(crl.client, AGENT, TASK)
        agent = agent_of(hook, calls("pay"), says("Paid."), output_type=[str, DeferredToolRequests])

        @agent.tool_plain(requires_approval=True)
        def pay() -> str:
            return "paid"

        paused = agent.run_sync("Pay.")
        assert (crl.outcomes, crl.abandoned) == ([], 1)
        approved = DeferredToolResults(approvals={call.tool_call_id: True for call in paused.output.approvals})
        agent.run_sync(message_history=paused.all_messages(), deferred_tool_results=approved)
        assert (crl.outcome["status"], crl.outcome["tokens_input"]) == ("success", 10)


def test_the_judge_sets_quality_and_status() -> None:
    with recorded() as crl:

        def judge(inv: Any, result: Any) -> None:
            inv.quality = len(result.output) / 10
            if inv.quality < 0.5:
                inv.failed()

        hook = CrlHooks(crl.client, AGENT, TASK, judge=judge)
        for text in ("long text", "x"):
            agent_of(hook, says(text)).run_sync("?")
        assert [(found["quality"], found["status"]) for found in crl.outcomes] == [(0.9, "success"), (0.1, "failure")]


def test_concurrent_runs_of_one_agent_do_not_mix() -> None:
    with recorded() as crl:
        hook = CrlHooks(crl.client, AGENT, TASK)

        async def answer(messages: Any, _info: Any) -> ModelResponse:
            await asyncio.sleep(0)
            hook.current.quality = float(messages[0].parts[0].content)
            return says("fine")

        agent = Agent(FunctionModel(answer), capabilities=[hook])

        async def run(number: int) -> None:
            await agent.run(str(number / 100), conversation_id=f"s{number}")

        async def all_at_once() -> None:
            await asyncio.gather(*map(run, range(20)))

        asyncio.run(all_at_once())
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: asyncio.run(run(number)), range(20, 40)))
        assert sorted((found["session_id"], found["quality"]) for found in crl.outcomes) == sorted(
            (f"s{number}", number / 100) for number in range(40)
        )


def test_an_error_of_the_hook_itself_does_not_reach_the_agent_and_is_logged() -> None:
    with recorded() as crl:
        hook = CrlHooks(crl.client, AGENT, TASK)
        crl.client.invocation = None  # type: ignore[assignment, method-assign]
        assert agent_of(hook, says("unharmed")).run_sync("?").output == "unharmed"
        assert "CrlHooks failed: TypeError" in crl.trouble
