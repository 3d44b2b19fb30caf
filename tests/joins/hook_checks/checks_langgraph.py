"""What the hook for LangGraph guarantees."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, interrupt
from outcomes import AGENT, TASK, recorded

from crl_stream.hooks.langgraph import MOST_OPEN, MOST_TREES, CrlCallback

QUESTION = {"messages": [HumanMessage("Where is my money?")]}


def says(text: str, *calls: dict[str, Any]) -> AIMessage:
    usage = {"input_tokens": 10, "output_tokens": 3, "total_tokens": 13}
    return AIMessage(text, tool_calls=list(calls), usage_metadata=usage)


def graph_of(node: Any, **options: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("agent", node, **options)
    graph.add_edge(START, "agent")
    graph.add_edge("agent", END)
    return graph.compile()


class ScriptedModel(GenericFakeChatModel):
    """A model that answers from a script and streams its usage at the end, as real ones do."""

    def _stream(self, *words: Any, **named: Any) -> Iterator[ChatGenerationChunk]:
        yield from super()._stream(*words, **named)
        usage = {"input_tokens": 10, "output_tokens": 3, "total_tokens": 13}
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage))


def model_of(*answers: AIMessage) -> ScriptedModel:
    return ScriptedModel(messages=iter(answers))


def answering(*answers: AIMessage) -> Any:
    model = model_of(*answers)
    return graph_of(lambda state: {"messages": [model.invoke(state["messages"])]})


def test_a_run_is_one_outcome_with_its_variant_session_tokens_model_and_trace() -> None:
    with recorded() as crl:
        crl.activate("v2", {"prompt": "be kind"})
        hook = CrlCallback(crl.client, AGENT, TASK, default="v1")
        seen = []

        def node(state: Any) -> Any:
            seen.append((hook.variant_id, hook.configuration))
            return {"messages": [model_of(says("It is on its way.")).invoke(state["messages"])]}

        config = {"callbacks": [hook], "configurable": {"thread_id": "thread-7"}}
        answer = graph_of(node).invoke(QUESTION, config)
        assert answer["messages"][-1].content == "It is on its way."
        assert seen == [("v2", {"prompt": "be kind"})]
        found = crl.outcome
        assert {name: found[name] for name in ("agent_name", "task_type", "variant_id", "status", "active_epoch")} == {
            "agent_name": AGENT,
            "task_type": TASK,
            "variant_id": "v2",
            "status": "success",
            "active_epoch": 7,
        }
        assert (found["session_id"], found["tokens_input"], found["tokens_output"]) == ("thread-7", 10, 3)
        assert found["provider"] == "scriptedmodel"
        assert found["trace_id"]
        assert found["duration_seconds"] >= 0
        assert (hook.current, crl.trouble.count("failed")) == (None, 0)


def test_a_stream_is_one_outcome_at_its_end() -> None:
    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)
        graph = answering(says("one two three"))
        stream = graph.stream(QUESTION, {"callbacks": [hook]}, stream_mode="messages")
        next(stream)
        assert crl.outcomes == []
        assert len(list(stream)) > 1
        assert (crl.outcome["status"], crl.outcome["tokens_input"]) == ("success", 10)


def test_a_batch_is_one_outcome_for_each_input_and_a_stream_of_events_is_one() -> None:
    async def main() -> None:
        graph = answering(*[says("fine")] * 5)
        graph.batch([QUESTION] * 2, {"callbacks": [hook]})
        await graph.abatch([QUESTION] * 2, {"callbacks": [hook]})
        events = [event async for event in graph.astream_events(QUESTION, {"callbacks": [hook]}, version="v2")]
        assert len(events) > 3
        assert [found["status"] for found in crl.outcomes] == ["success"] * 5

    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)
        asyncio.run(main())


def test_a_session_keeps_the_variant_that_it_began_with() -> None:
    with recorded() as crl:
        crl.activate("v2", {"prompt": "new"}, on_change="next_session")
        hook = CrlCallback(crl.client, AGENT, TASK)
        with hook.invocation("old-session", began_with="v1"):
            answering(says("fine")).invoke(QUESTION, {"callbacks": [hook]})
        assert (crl.outcome["variant_id"], crl.outcome["variant_source"]) == ("v1", "session")


def test_a_stream_that_its_reader_leaves_is_abandoned_and_hides_no_later_run() -> None:
    async def main() -> None:
        hook = CrlCallback(crl.client, AGENT, TASK)
        stream = answering(says("one two three")).astream(QUESTION, {"callbacks": [hook]}, stream_mode="messages")
        async for _ in stream:
            break
        await answering(says("done")).ainvoke(QUESTION, {"callbacks": [hook]})
        assert crl.outcome["status"] == "success"
        await stream.aclose()
        gc.collect()
        assert (len(crl.outcomes), crl.abandoned) == (1, 1)

    with recorded() as crl:
        asyncio.run(main())


def test_a_cancelled_run_is_abandoned() -> None:
    async def main() -> None:
        hook, started = CrlCallback(crl.client, AGENT, TASK), asyncio.Event()

        async def node(state: Any) -> Any:
            started.set()
            await asyncio.sleep(60)

        run = asyncio.create_task(graph_of(node).ainvoke(QUESTION, {"callbacks": [hook]}))
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert (crl.outcomes, crl.abandoned) == ([], 1)

    with recorded() as crl:
        asyncio.run(main())


def test_a_nested_graph_is_part_of_the_outer_run() -> None:
    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)
        inner = answering(says("inner"))
        again = answering(says("again"))

        def node(state: Any) -> Any:
            inner.invoke(state)
            return again.invoke(state, {"callbacks": [hook]})  # LangChain calls this an outermost run

        graph_of(node).invoke(QUESTION, {"callbacks": [hook]})
        assert (crl.outcome["tokens_input"], crl.outcome["tokens_output"]) == (20, 6)


def test_a_nested_chain_with_the_same_callback_is_part_of_the_outer_run() -> None:
    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)
        inner = RunnableLambda(lambda text: model_of(says("x")).invoke(text))
        RunnableLambda(lambda text: inner.invoke(text, {"callbacks": [hook]})).invoke("?", {"callbacks": [hook]})
        assert crl.outcome["tokens_input"] == 10


def test_a_nested_run_that_the_agent_cuts_short_is_no_error() -> None:
    async def main() -> None:
        hook = CrlCallback(crl.client, AGENT, TASK)

        async def slow(_: Any) -> Any:
            await asyncio.sleep(60)

        async def node(state: Any) -> Any:
            with suppress(TimeoutError):
                await asyncio.wait_for(graph_of(slow).ainvoke(state), 0.01)
            return {"messages": [says("without it")]}

        await graph_of(node).ainvoke(QUESTION, {"callbacks": [hook]})
        assert (crl.outcome["status"], crl.outcome["error_count"]) == ("success", 0)

    with recorded() as crl:
        asyncio.run(main())


def test_a_nested_agent_with_its_own_hook_is_its_own_invocation() -> None:
    with recorded() as crl:
        outer = CrlCallback(crl.client, AGENT, TASK)
        for number, give in enumerate(("with_config", "invoke")):
            hook = CrlCallback(crl.client, "researcher", TASK)
            inner = answering(says("found"))
            if give == "with_config":
                inner = inner.with_config(callbacks=[hook])
                graph_of(lambda state, inner=inner: inner.invoke(state)).invoke(QUESTION, {"callbacks": [outer]})
            else:
                told = {"callbacks": [hook]}
                graph_of(lambda state, inner=inner, told=told: inner.invoke(state, told)).invoke(
                    QUESTION, {"callbacks": [outer]}
                )
            agents = sorted(found["agent_name"] for found in crl.outcomes[2 * number :])
            assert agents == ["researcher", AGENT]


def test_a_retried_node_is_one_outcome_that_counts_the_errors_it_recovered_from() -> None:
    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)
        tries = []

        def node(state: Any) -> Any:
            tries.append(1)
            if len(tries) < 3:
                raise ConnectionError(f"try {len(tries)}")
            return {"messages": [says("at last")]}

        policy = RetryPolicy(initial_interval=0.01, jitter=False, max_attempts=3)
        graph_of(node, retry_policy=policy).invoke(QUESTION, {"callbacks": [hook]})
        assert (crl.outcome["status"], crl.outcome["error_count"]) == ("success", 2)
        model = RunnableLambda(lambda _: tries.pop() and 1 / 0).with_retry(
            stop_after_attempt=2, wait_exponential_jitter=False
        )
        with pytest.raises(ZeroDivisionError):
            model.invoke("x", {"callbacks": [hook]})
        assert [found["status"] for found in crl.outcomes] == ["success", "error"]


def test_an_exception_is_an_error_and_reaches_the_caller() -> None:
    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)

        def node(state: Any) -> Any:
            raise KeyError("order")

        for graph in (graph_of(node), graph_of(graph_of(node))):
            with pytest.raises(KeyError):
                graph.invoke(QUESTION, {"callbacks": [hook]})
        assert [(found["status"], found["error_count"]) for found in crl.outcomes] == [("error", 0)] * 2


def test_a_tools_error_that_the_model_sees_is_counted_and_does_not_fail_the_run() -> None:
    @tool
    def look_up(order: str) -> str:
        """Look up an order."""
        raise ValueError(f"no order {order}")

    call = {"name": "look_up", "args": {"order": "12"}, "id": "1"}
    for counts, expected in ((True, 1), (False, 0)):
        with recorded() as crl:
            hook = CrlCallback(crl.client, AGENT, TASK, counts_errors=counts)
            model = model_of(says("", call), says("There is no such order."))
            graph = StateGraph(MessagesState)
            graph.add_node("agent", lambda state, model=model: {"messages": [model.invoke(state["messages"])]})
            graph.add_node("tools", ToolNode([look_up], handle_tool_errors=True))
            graph.add_edge(START, "agent")
            graph.add_conditional_edges("agent", lambda s: "tools" if s["messages"][-1].tool_calls else END)
            graph.add_edge("tools", "agent")
            graph.compile().invoke(QUESTION, {"callbacks": [hook]})
            assert (crl.outcome["status"], crl.outcome["error_count"]) == ("success", expected)


def test_a_run_that_waits_for_a_person_has_no_outcome_until_it_is_resumed() -> None:
    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)
        graph = StateGraph(MessagesState)
        graph.add_node("agent", lambda _: {"messages": [says(interrupt("Pay 100?"))]})
        graph.add_edge(START, "agent")
        compiled = graph.compile(checkpointer=InMemorySaver())
        for number, run in enumerate((compiled.invoke, lambda *words: list(compiled.stream(*words)))):
            config = {"callbacks": [hook], "configurable": {"thread_id": f"t{number}"}}
            run(QUESTION, config)
            assert (len(crl.outcomes), crl.abandoned) == (number, number + 1)
            run(Command(resume="yes"), config)
            assert (crl.outcomes[-1]["status"], crl.outcomes[-1]["error_count"]) == ("success", 0)


def test_concurrent_runs_of_one_hook_do_not_mix() -> None:
    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)

        def judged(state: Any) -> Any:
            hook.current.quality = float(state["messages"][0].content)
            return {"messages": [says("fine")]}

        graph = graph_of(judged)

        def run(number: int) -> None:
            told = {"callbacks": [hook], "configurable": {"thread_id": f"s{number}"}}
            graph.invoke({"messages": [HumanMessage(str(number / 100))]}, told)

        async def arun(number: int) -> None:
            told = {"callbacks": [hook], "configurable": {"thread_id": f"s{number}"}}
            await graph.ainvoke({"messages": [HumanMessage(str(number / 100))]}, told)

        async def all_at_once() -> None:
            await asyncio.gather(*map(arun, range(50, 100)))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(run, range(50)))
        asyncio.run(all_at_once())
        assert sorted((found["session_id"], found["quality"]) for found in crl.outcomes) == sorted(
            (f"s{number}", number / 100) for number in range(100)
        )


def test_a_block_makes_several_runs_one_invocation() -> None:
    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)
        with hook.invocation("job-9") as inv:
            for _ in range(2):
                answering(says("part")).invoke(QUESTION, {"callbacks": [hook]})
            with pytest.raises(ZeroDivisionError):
                graph_of(lambda _: 1 / 0).invoke(QUESTION, {"callbacks": [hook]})
            inv.quality = 0.5
        found = crl.outcome
        assert (found["session_id"], found["quality"], found["tokens_input"]) == ("job-9", 0.5, 20)
        assert (found["status"], found["error_count"]) == ("success", 1)


def test_the_judge_sees_the_result_and_its_own_errors_lose_nothing() -> None:
    with recorded() as crl:

        def judge(inv: Any, result: Any) -> None:
            if result["messages"][-1].content == "no":
                inv.failed()
            assert result["messages"][-1].content != "odd", "cannot judge"

        hook = CrlCallback(crl.client, AGENT, TASK, judge=judge)
        for text in ("yes", "no", "odd"):
            answering(says(text)).invoke(QUESTION, {"callbacks": [hook]})
        assert [found["status"] for found in crl.outcomes] == ["success", "failure", "success"]
        assert "the judge failed: AssertionError: cannot judge" in crl.trouble


def test_what_the_agent_measures_itself_is_kept_and_what_cannot_be_measured_loses_no_outcome() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)
        with hook.invocation() as inv:
            answering(says("fine")).invoke(QUESTION, {"callbacks": [hook]})
            inv.tokens_input, inv.cost = 7, 0.5

        def node(state: Any) -> Any:
            raise Unspeakable

        with pytest.raises(Unspeakable):
            graph_of(node).invoke(QUESTION, {"callbacks": [hook]})
        first, second = crl.outcomes
        assert (first["tokens_input"], first["tokens_output"], first["cost"]) == (7, 3, 0.5)
        assert second["status"] == "error"
        assert "RuntimeError: no text" in crl.trouble


def test_an_error_of_the_hook_itself_does_not_reach_the_agent_and_is_logged() -> None:
    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK)
        crl.client.invocation = None  # type: ignore[assignment, method-assign]
        answer = answering(says("unharmed")).invoke(QUESTION, {"callbacks": [hook]})
        assert answer["messages"][-1].content == "unharmed"
        assert "CrlCallback failed: TypeError" in crl.trouble
        assert hook.variant_id == "default"


def test_runs_whose_end_is_never_told_are_abandoned_and_forgotten_when_there_are_too_many() -> None:
    with recorded() as crl:
        hook = CrlCallback(crl.client, AGENT, TASK, default="v1")
        runs = [uuid4() for _ in range(MOST_OPEN + MOST_TREES + 1)]
        for run_id in runs:
            hook.on_chain_start(run_id=run_id)
        assert crl.abandoned == MOST_TREES + 1
        assert len(hook._trees) == MOST_OPEN + MOST_TREES
        hook.on_chain_end({}, run_id=runs[0])
        hook.on_chain_end({}, run_id=runs[1])
        assert crl.outcomes == []
        hook.on_chain_end({}, run_id=runs[-1])
        assert crl.outcome["status"] == "success"
