"""What the hook for CrewAI guarantees."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

os.environ.update(CREWAI_DISABLE_TELEMETRY="true", CREWAI_TRACING_ENABLED="false")

import pytest
from crewai import Agent, BaseLLM, Crew, Task
from crewai.events import crewai_event_bus
from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import llm_call_context
from crewai.tools import tool
from outcomes import AGENT, TASK, Recorder, recorded

from crl_stream.hooks.crewai import CrlListener

USAGE = {"prompt_tokens": 10, "completion_tokens": 3}


class ScriptedLLM(BaseLLM):
    """Answers from a script. It sends the events that CrewAI's own models send."""

    steps: list[Any]

    def call(self, messages: Any, *_: Any, **named: Any) -> Any:
        told = {name: named.get(name) for name in ("from_task", "from_agent")}
        with llm_call_context():
            self._emit_call_started_event(messages=messages, **told)
            step = self.steps.pop(0)
            step = step() if callable(step) else step
            if isinstance(step, Exception):
                self._emit_call_failed_event(error=str(step), **told)
                raise step
            self._emit_call_completed_event(response=step, call_type=LLMCallType.LLM_CALL, usage=USAGE, **told)
            return step


def answer(text: str) -> str:
    return f"Thought: I know.\nFinal Answer: {text}"


def uses(name: str) -> str:
    return f"Thought: I look.\nAction: {name}\nAction Input: {{}}"


def crew_of(*steps: Any, name: str = "refunds", tools: tuple[Any, ...] = (), **options: Any) -> Crew:
    llm = ScriptedLLM(model="openai/scripted", steps=list(steps))
    agent = Agent(role="clerk", goal="help", backstory="kind", llm=llm, tools=list(tools), max_retry_limit=1)
    task = Task(description="Answer.", expected_output="An answer.", agent=agent)
    return Crew(agents=[agent], tasks=[task], name=name, **options)


@contextmanager
def listening(**options: Any) -> Iterator[tuple[Recorder, CrlListener]]:
    """Provide a recorder and a listener that hears only this test's crews."""
    with recorded() as crl, crewai_event_bus.scoped_handlers():
        yield crl, CrlListener(crl.client, AGENT, TASK, default="v1", **options)


def test_a_kickoff_is_one_outcome_with_its_variant_session_tokens_model_and_trace() -> None:
    with listening() as (crl, hook):
        crl.activate("v2", {"prompt": "be kind"})
        seen = []

        @tool("look_up")
        def look_up() -> str:
            """Look up an order."""
            seen.append((hook.variant_id, hook.configuration))
            return "sent"

        crew = crew_of(uses("look_up"), answer("It is on its way."), tools=(look_up,))
        assert crew.kickoff(inputs={"session_id": "conversation-7"}).raw == "It is on its way."
        crewai_event_bus.flush()
        assert seen == [("v2", {"prompt": "be kind"})]
        found = crl.outcome
        assert (found["variant_id"], found["active_epoch"], found["status"]) == ("v2", 7, "success")
        assert (found["session_id"], found["tokens_input"], found["tokens_output"]) == ("conversation-7", 20, 6)
        assert (found["provider"], found["error_count"]) == ("openai", 0)
        assert found["trace_id"]
        assert hook.current is None


def test_a_stream_is_one_outcome_at_its_end() -> None:
    with listening() as (crl, _hook):
        stream = crew_of(answer("one two three"), stream=True).kickoff()
        list(stream)
        crewai_event_bus.flush()
        assert (crl.outcome["status"], crl.outcome["tokens_input"]) == ("success", 10)


def test_a_cancelled_kickoff_has_no_outcome_and_counts_as_abandoned_when_the_crew_starts_again() -> None:
    async def main() -> None:
        started, goes_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def wait() -> str:
            loop.call_soon_threadsafe(started.set)
            goes_on.wait(30)
            return answer("too late")

        crew = crew_of(wait, answer("at last"))
        run = asyncio.create_task(crew.akickoff())
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        goes_on.set()
        crewai_event_bus.flush()
        assert crl.outcomes == []
        await crew.akickoff()
        crewai_event_bus.flush()
        assert (crl.outcome["status"], crl.abandoned) == ("success", 1)

    with listening() as (crl, _hook):
        asyncio.run(main())


def test_a_nested_crew_is_part_of_the_run_and_one_with_its_own_hook_is_its_own_invocation() -> None:
    with listening(crew="refunds") as (crl, _hook):
        own = CrlListener(crl.client, "researcher", TASK, crew="research")

        @tool("ask")
        def ask() -> str:
            """Ask another crew."""
            return str(crew_of(answer("42"), name="research").kickoff())

        crew_of(uses("ask"), answer("It is 42."), tools=(ask,)).kickoff()
        crewai_event_bus.flush()
        found = sorted((outcome["agent_name"], outcome["tokens_input"]) for outcome in crl.outcomes)
        assert found == [("researcher", 10), (AGENT, 30)]
        assert own.current is None


def test_a_nested_crew_is_no_invocation_for_a_listener_of_all_crews() -> None:
    with listening() as (crl, _hook):

        @tool("ask")
        def ask() -> str:
            """Ask another crew."""
            return str(crew_of(answer("42")).kickoff())

        crew_of(uses("ask"), answer("It is 42."), tools=(ask,)).kickoff()
        crewai_event_bus.flush()
        assert crl.outcome["tokens_input"] == 30


def test_a_listener_hears_only_its_own_crew() -> None:
    with listening(crew="refunds") as (crl, _hook):
        crew_of(answer("x"), name="other").kickoff()
        crewai_event_bus.flush()
        assert crl.outcomes == []


def test_a_retried_agent_is_one_outcome_that_counts_the_errors_it_recovered_from() -> None:
    for counts, expected in ((True, 1), (False, 0)):
        with listening(counts_errors=counts) as (crl, _hook):
            crew_of(ConnectionError("reset"), answer("At last.")).kickoff()
            crewai_event_bus.flush()
            assert (crl.outcome["status"], crl.outcome["error_count"]) == ("success", expected)


def test_a_tools_error_that_the_model_sees_is_counted_and_does_not_fail_the_run() -> None:
    @tool("look_up")
    def look_up() -> str:
        """Look up an order."""
        raise ValueError("no such order")

    with listening() as (crl, _hook):
        crew_of(uses("look_up"), answer("There is no such order."), tools=(look_up,)).kickoff()
        crewai_event_bus.flush()
        assert crl.outcome["status"] == "success"
        assert crl.outcome["error_count"] >= 1


def test_an_exception_is_an_error_and_reaches_the_caller() -> None:
    with listening() as (crl, _hook):
        with pytest.raises(ConnectionError):
            crew_of(*[ConnectionError("down")] * 4).kickoff()
        crewai_event_bus.flush()
        assert (crl.outcome["status"], crl.outcome["error_count"]) == ("error", 0)


def test_concurrent_crews_of_one_hook_do_not_mix() -> None:
    with listening() as (crl, hook):

        def run(number: int) -> None:
            def judged() -> str:
                hook.current.quality = number / 100
                return answer("fine")

            crew_of(judged).kickoff(inputs={"session_id": f"s{number}"})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(run, range(12)))
        crewai_event_bus.flush()
        assert sorted((found["session_id"], found["quality"]) for found in crl.outcomes) == sorted(
            (f"s{number}", number / 100) for number in range(12)
        )


def test_a_block_makes_several_kickoffs_one_invocation() -> None:
    with listening() as (crl, hook):
        with hook.invocation("job-9") as inv:
            for _ in range(2):
                crew_of(answer("part")).kickoff()
            inv.quality = 0.5
        found = crl.outcome
        assert (found["session_id"], found["quality"], found["tokens_input"]) == ("job-9", 0.5, 20)


def test_the_judge_sees_the_output() -> None:
    def judge(inv: Any, output: Any) -> None:
        if output.raw == "no":
            inv.failed()

    with listening(judge=judge) as (crl, _hook):
        for text in ("yes", "no"):
            crew_of(answer(text)).kickoff()
        crewai_event_bus.flush()
        assert [found["status"] for found in crl.outcomes] == ["success", "failure"]


def test_an_error_of_the_hook_itself_does_not_reach_the_crew_and_is_logged() -> None:
    with listening() as (crl, _hook):
        crl.client.invocation = None  # type: ignore[assignment, method-assign]
        assert crew_of(answer("unharmed")).kickoff().raw == "unharmed"
        crewai_event_bus.flush()
        assert "CrlListener failed: TypeError" in crl.trouble
