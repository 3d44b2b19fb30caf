"""What the hook for the OpenAI Agents SDK guarantees."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelResponse,
    ModelSettings,
    OutputGuardrail,
    OutputGuardrailTripwireTriggered,
    RunContextWrapper,
    RunHooks,
    SQLiteSession,
    Usage,
    function_tool,
    set_trace_processors,
)
from agents.retry import ModelRetryBackoffSettings, ModelRetrySettings, RetryDecision
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from outcomes import AGENT, TASK, recorded

from crl_stream.hooks.openai_agents import CrlRunner

set_trace_processors([])  # spans stay on this machine; the hook adds its own processor


def says(text: str) -> ModelResponse:
    usage = Usage(requests=1, input_tokens=10, output_tokens=3, total_tokens=13)
    return ModelResponse(output=[assistant_message(text)], usage=usage, response_id=None)


def calls(tool: str, call_id: str = "1", **arguments: Any) -> ModelResponse:
    usage = Usage(requests=1, input_tokens=10, output_tokens=3, total_tokens=13)
    return ModelResponse(output=[function_call(tool, arguments, call_id=call_id)], usage=usage, response_id=None)


async def read(stream: Any) -> None:
    async for _ in stream.stream_events():
        pass


async def run(hook: CrlRunner, agent: Agent, *, streams: bool) -> None:
    if streams:
        await read(hook.run_streamed(agent, "?", max_turns=2))
    else:
        await hook.run(agent, "?", max_turns=2)


def agent_of(*steps: Any, **options: Any) -> Agent:
    return Agent(name="support", model=ScriptedModel(steps), **options)


def test_a_run_is_one_outcome_with_its_variant_session_tokens_and_trace() -> None:
    async def main() -> None:
        crl.activate("v2", {"prompt": "be kind"})
        hook = CrlRunner(crl.client, AGENT, TASK, default="v1", provider="openai", model="gpt-x")
        agent = agent_of(says("It is on its way."), instructions=lambda _context, _agent: hook.configuration["prompt"])
        result = await hook.run(agent, "Where?", session=SQLiteSession("conversation-7"))
        assert result.final_output == "It is on its way."
        assert agent.model.first_call.system_instructions == "be kind"
        found = crl.outcome
        assert (found["variant_id"], found["active_epoch"], found["status"]) == ("v2", 7, "success")
        assert (found["session_id"], found["tokens_input"], found["tokens_output"]) == ("conversation-7", 10, 3)
        assert (found["provider"], found["model"]) == ("openai", "gpt-x")
        assert found["trace_id"].startswith("trace_")
        assert hook.current is None

    with recorded() as crl:
        asyncio.run(main())


def test_it_also_runs_without_an_event_loop() -> None:
    with recorded() as crl:
        hook = CrlRunner(crl.client, AGENT, TASK)
        assert hook.run_sync(agent_of(says("Yes.")), "Well?").final_output == "Yes."
        with pytest.raises(ZeroDivisionError):
            hook.run_sync(agent_of(ZeroDivisionError()), "Well?")
        assert [found["status"] for found in crl.outcomes] == ["success", "error"]


def test_a_stream_is_one_outcome_at_its_end_and_hides_no_other_run() -> None:
    async def main() -> None:
        hook = CrlRunner(crl.client, AGENT, TASK)
        result = hook.run_streamed(agent_of(says("one two three")), "Count.")
        await hook.run(agent_of(says("meanwhile")), "Well?")
        events = [event async for event in result.stream_events()]
        assert len(events) > 2
        assert [found["tokens_input"] for found in crl.outcomes] == [10, 10]

    with recorded() as crl:
        asyncio.run(main())


def test_a_stream_that_fails_is_one_outcome_with_the_status_that_fits() -> None:
    async def refuse_output(*_: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(None, tripwire_triggered=True)

    loops = [calls("nothing", call_id=str(number)) for number in range(3)]
    tool = function_tool(lambda: "nothing", name_override="nothing", description_override="nothing")

    async def main() -> None:
        hook = CrlRunner(crl.client, AGENT, TASK)
        cases = [
            (agent_of(ZeroDivisionError()), ZeroDivisionError, "error"),
            (agent_of(*loops, tools=[tool]), MaxTurnsExceeded, "error"),
            (
                agent_of(says("secret"), output_guardrails=[OutputGuardrail(refuse_output)]),
                OutputGuardrailTripwireTriggered,
                "failure",
            ),
            (
                agent_of(says("x"), input_guardrails=[InputGuardrail(refuse_output)]),
                InputGuardrailTripwireTriggered,
                None,
            ),
        ]
        for number, (agent, error, status) in enumerate(cases):
            for streams in (True, False):
                before = len(crl.outcomes)
                copied = agent.clone(model=ScriptedModel(list(agent.model._steps)))
                with pytest.raises(error):
                    await run(hook, copied, streams=streams)
                await asyncio.sleep(0)
                found = [outcome["status"] for outcome in crl.outcomes[before:]]
                assert found == ([] if status is None else [status]), (number, streams)
        assert crl.abandoned == 2

    with recorded() as crl:
        asyncio.run(main())


def test_a_cancelled_run_is_abandoned() -> None:
    async def main() -> None:
        hook, started = CrlRunner(crl.client, AGENT, TASK), asyncio.Event()

        async def wait(_: Any) -> Any:
            started.set()
            await asyncio.sleep(60)

        run = asyncio.create_task(hook.run(agent_of(ModelStep.respond(wait)), "Well?"))
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        started.clear()
        stream = hook.run_streamed(agent_of(ModelStep.respond(wait)), "Well?")
        reader = asyncio.create_task(read(stream))
        await started.wait()
        reader.cancel()
        await asyncio.wait([stream.run_loop_task, reader])
        await asyncio.sleep(0)
        tool = function_tool(lambda: "x", name_override="x", description_override="x")
        stopped = hook.run_streamed(agent_of(calls("x"), says("never"), tools=[tool]), "Well?")
        stopped.cancel(mode="after_turn")
        await read(stopped)
        await asyncio.sleep(0)
        assert (crl.outcomes, crl.abandoned) == ([], 3)

    with recorded() as crl:
        asyncio.run(main())


def test_handoffs_and_agents_used_as_tools_are_part_of_the_run() -> None:
    async def main() -> None:
        hook = CrlRunner(crl.client, AGENT, TASK)
        helper = agent_of(says("42"))
        expert = Agent(name="expert", model=ScriptedModel([says("It is 42.")]))
        tool = helper.as_tool("helper", "helps")
        agent = agent_of(
            calls("helper", input="?"), calls("transfer_to_expert", call_id="2"), tools=[tool], handoffs=[expert]
        )
        assert (await hook.run(agent, "How much?")).final_output == "It is 42."
        assert crl.outcome["tokens_input"] == 40

    with recorded() as crl:
        asyncio.run(main())


def test_a_nested_run_of_the_same_hook_is_part_of_it_and_one_with_its_own_hook_is_its_own_invocation() -> None:
    async def main() -> None:
        hook, own = CrlRunner(crl.client, AGENT, TASK), CrlRunner(crl.client, "researcher", TASK)

        @function_tool
        async def ask_around() -> str:
            await hook.run(agent_of(says("a")), "?")
            await own.run(agent_of(says("b")), "?")
            return "done"

        await hook.run(agent_of(calls("ask_around"), says("Done."), tools=[ask_around]), "?")
        assert [(found["agent_name"], found["tokens_input"]) for found in crl.outcomes] == [
            ("researcher", 10),
            (AGENT, 30),
        ]

    with recorded() as crl:
        asyncio.run(main())


def test_retries_of_the_model_are_one_outcome() -> None:
    async def main() -> None:
        hook = CrlRunner(crl.client, AGENT, TASK)
        retry = ModelRetrySettings(
            max_retries=2,
            backoff=ModelRetryBackoffSettings(initial_delay=0.01, max_delay=0.01),
            policy=lambda _: RetryDecision(retry=True),
        )
        agent = agent_of(
            ConnectionError(), ConnectionError(), says("At last."), model_settings=ModelSettings(retry=retry)
        )
        assert (await hook.run(agent, "Well?")).final_output == "At last."
        assert crl.outcome["status"] == "success"

    with recorded() as crl:
        asyncio.run(main())


def test_a_tools_error_that_the_model_sees_is_counted_and_one_that_ends_the_run_is_an_error() -> None:
    async def main() -> None:
        hook = CrlRunner(crl.client, AGENT, TASK)

        def look_up() -> str:
            """Look up an order."""
            raise ValueError("no such order")

        seen, fatal = function_tool(look_up), function_tool(look_up, failure_error_function=None)
        await hook.run(agent_of(calls("look_up"), says("No such order."), tools=[seen]), "?")
        with pytest.raises(Exception, match="no such order"):
            await hook.run(agent_of(calls("look_up"), tools=[fatal]), "?")
        assert [(found["status"], found["error_count"]) for found in crl.outcomes] == [("success", 1), ("error", 0)]

    with recorded() as crl:
        asyncio.run(main())


def test_a_run_that_waits_for_an_approval_has_no_outcome_until_it_is_resumed() -> None:
    async def main() -> None:
        hook = CrlRunner(crl.client, AGENT, TASK)
        pay = function_tool(lambda: "paid", name_override="pay", description_override="pay", needs_approval=True)
        agent = agent_of(calls("pay"), says("Paid."), tools=[pay])
        paused = await hook.run(agent, "Pay.")
        assert (crl.outcomes, crl.abandoned) == ([], 1)
        state = paused.to_state()
        state.approve(paused.interruptions[0])
        assert (await hook.run(agent, state)).final_output == "Paid."
        assert (crl.outcome["status"], crl.outcome["tokens_input"]) == ("success", 10)

    with recorded() as crl:
        asyncio.run(main())


def test_the_agents_own_hooks_are_called_as_before() -> None:
    heard = []

    class Own(RunHooks):
        async def on_agent_start(self, context: RunContextWrapper, agent: Agent) -> None:
            heard.append("start")

        async def on_llm_end(self, context: RunContextWrapper, agent: Agent, response: Any) -> None:
            heard.append("llm")

        async def on_agent_end(self, context: RunContextWrapper, agent: Agent, output: Any) -> None:
            heard.append(output)

    async def main() -> None:
        await CrlRunner(crl.client, AGENT, TASK).run(agent_of(says("Yes.")), "?", hooks=Own())
        assert heard == ["start", "llm", "Yes."]
        with pytest.raises(TypeError, match="RunHooks"):
            await CrlRunner(crl.client, AGENT, TASK).run(agent_of(says("Yes.")), "?", hooks="none")

    with recorded() as crl:
        asyncio.run(main())


def test_concurrent_runs_of_one_hook_do_not_mix() -> None:
    with recorded() as crl:
        hook = CrlRunner(crl.client, AGENT, TASK)

        def agent_about(number: int) -> Agent:
            def judged(_context: Any, _agent: Any) -> str:
                hook.current.quality = number / 100
                return "answer"

            return agent_of(says("fine"), instructions=judged)

        async def run(number: int) -> None:
            await hook.run(agent_about(number), "?", session=SQLiteSession(f"s{number}"))

        async def all_at_once() -> None:
            await asyncio.gather(*map(run, range(20)))

        asyncio.run(all_at_once())
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: asyncio.run(run(number)), range(20, 40)))
        assert sorted((found["session_id"], found["quality"]) for found in crl.outcomes) == sorted(
            (f"s{number}", number / 100) for number in range(40)
        )


def test_an_error_of_the_hook_itself_does_not_reach_the_agent_and_is_logged() -> None:
    async def main() -> None:
        hook = CrlRunner(crl.client, AGENT, TASK)
        crl.client.invocation = None  # type: ignore[assignment, method-assign]
        assert (await hook.run(agent_of(says("unharmed")), "?")).final_output == "unharmed"
        assert "CrlRunner failed: TypeError" in crl.trouble

    with recorded() as crl:
        asyncio.run(main())
