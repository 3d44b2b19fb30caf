"""A small agent, built with one framework, that works until its variant has been replaced.

    story.py FRAMEWORK AGENT_NAME TASK_TYPE

Its prompt is the variant's configuration. After 12 good runs with the prompt "brave", the model fails with that prompt.
Each run prints a JSON line: the variant, the epoch, the prompt that the model got, and whether the run failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from crl_stream.client import Client

GOOD_RUNS = 12
MOST_RUNS = 200

Work = Callable[[], str]
Runs = Callable[[str], Any]


def langgraph(hook_of: Any, work: Any) -> Runs:
    from langchain_core.messages import AIMessage
    from langgraph.graph import END, START, MessagesState, StateGraph

    from crl_stream.hooks.langgraph import CrlCallback

    hook = hook_of(CrlCallback)
    graph = StateGraph(MessagesState)
    graph.add_node("agent", lambda _: {"messages": [AIMessage(work(hook))]})
    graph.add_edge(START, "agent")
    graph.add_edge("agent", END)
    compiled = graph.compile()
    return lambda session: compiled.invoke(
        {"messages": ["?"]}, {"callbacks": [hook], "configurable": {"thread_id": session}}
    )


def openai_agents(hook_of: Any, work: Any) -> Runs:
    from agents import Agent, SQLiteSession, set_trace_processors
    from agents.testing import ModelStep, ScriptedModel, assistant_message

    from crl_stream.hooks.openai_agents import CrlRunner

    set_trace_processors([])
    hook = hook_of(CrlRunner)

    def run(session: str) -> Any:
        model = ScriptedModel([ModelStep.respond(lambda _: [assistant_message(work(hook))])])
        return hook.run_sync(Agent(name="a", model=model), "?", session=SQLiteSession(session))

    return run


def pydantic_ai(hook_of: Any, work: Any) -> Runs:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart
    from pydantic_ai.models.function import FunctionModel

    from crl_stream.hooks.pydantic_ai import CrlHooks

    hook = hook_of(CrlHooks)
    agent = Agent(FunctionModel(lambda *_: ModelResponse([TextPart(work(hook))])), capabilities=[hook])
    return lambda session: agent.run_sync("?", conversation_id=session)


def claude_agent(hook_of: Any, work: Any) -> Runs:
    from checks_claude_agent import ScriptedTransport, read, result, says
    from claude_agent_sdk import ClaudeAgentOptions

    from crl_stream.hooks.claude_agent import CrlMessages

    hook = hook_of(CrlMessages)

    def run(session: str) -> Any:
        transport = ScriptedTransport()

        def options() -> ClaudeAgentOptions:
            try:
                transport.turns = [[says(work(hook)), result()]]
            except ConnectionError:
                transport.turns = [[result(is_error=True, api_error_status=529), ConnectionError("overloaded")]]
            return ClaudeAgentOptions()

        return asyncio.run(read(hook.query(prompt="?", options=options, transport=transport, session_id=session)))

    return run


def crewai(hook_of: Any, work: Any) -> Runs:
    os.environ.update(CREWAI_DISABLE_TELEMETRY="true", CREWAI_TRACING_ENABLED="false")
    from checks_crewai import answer, crew_of
    from crewai.events import crewai_event_bus

    from crl_stream.hooks.crewai import CrlListener

    hook = hook_of(CrlListener)

    def step() -> Any:
        try:
            return answer(work(hook))
        except ConnectionError as error:
            return error

    def run(session: str) -> Any:
        try:
            return crew_of(*[step] * 4).kickoff(inputs={"session_id": session})
        finally:
            crewai_event_bus.flush()

    return run


def main(framework: str, agent_name: str, task_type: str) -> None:
    """Work, and print what happened in each run."""
    lines: list[dict[str, Any]] = []
    good = 0

    with Client(runtime_id="joined-agent", exploration=0.0) as crl:

        def work(hook: Any) -> str:
            nonlocal good
            prompt = hook.configuration["prompt"]
            lines[-1] |= {"variant": hook.variant_id, "epoch": hook.current.epoch, "prompt": prompt}
            if prompt == "brave":
                if good == GOOD_RUNS:
                    raise ConnectionError("overloaded")
                good += 1
            return "Done."

        assert crl.resolver.wait_for_epoch(agent_name, task_type, 2, 60.0)
        run = globals()[framework](lambda kind: kind(crl, agent_name, task_type), work)
        for number in range(MOST_RUNS):
            lines.append({"failed": False})
            try:
                run(f"session-{number}")
            except Exception:
                lines[-1]["failed"] = True
            crl.publisher.flush(30.0)
            sys.stdout.write(json.dumps(lines[-1]) + "\n")
            sys.stdout.flush()
            if lines[-1]["epoch"] > 2:
                return
            if lines[-1]["failed"]:
                crl.resolver.wait_for_epoch(agent_name, task_type, 3, 0.3)


if __name__ == "__main__":
    main(*sys.argv[1:])
