"""LangGraph and LangChain: a callback handler for the outermost run of a graph, chain or model.

    hook = CrlCallback(client, "support", "refunds", default="v1")
    graph.invoke(question, {"callbacks": [hook], "configurable": {"thread_id": "conversation-7"}})

The whole tree of runs below the outermost one is one invocation. Several calls of LangChain may also be made one, with
``with hook.invocation(): ...``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Unpack
from uuid import UUID

from crl_stream.client.invocation import Client
from crl_stream.hooks.watching import Hook, Options, Run, session_of

try:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.runnables.config import var_child_runnable_config
except ImportError as error:
    raise ImportError("crl_stream.hooks.langgraph needs LangGraph or LangChain: pip install langgraph") from error

try:
    from langgraph.callbacks import GraphCallbackHandler as _Handler
    from langgraph.errors import GraphBubbleUp as _BubbleUp
except ImportError:  # LangChain without LangGraph, or a LangGraph that does not announce interrupts
    _Handler = BaseCallbackHandler

    class _BubbleUp(Exception):  # type: ignore[no-redef]
        """Stands for LangGraph's exceptions that are not errors."""


SESSION_KEYS: Final = ("thread_id", "session_id", "conversation_id")
"""Where a conversation's id is found in ``configurable`` or ``metadata``, the first that is there."""

MOST_OPEN: Final = 1_000
"""Number of outermost runs that go on at the same time; if there are more, the oldest ones count as abandoned."""

MOST_TREES: Final = 100
"""Number of ended trees of runs that are remembered, so that runs that end late do not count as new ones."""


class _Tree:
    """All runs below one outermost run."""

    def __init__(self, run: Run, root: UUID, *, owns: bool) -> None:
        self.run, self.root, self.owns = run, root, owns
        self.runs = {root}
        self.ended = False


class CrlCallback(Hook, _Handler):
    """A callback handler. Pass it in ``config["callbacks"]``; one object serves any number of concurrent runs."""

    run_inline = True
    """Callbacks run in the agent's own task, so that ``variant_id`` is known there; they do not block."""

    def __init__(self, client: Client, agent_name: str, task_type: str, **options: Unpack[Options]) -> None:
        Hook.__init__(self, client, agent_name, task_type, **options)
        self._trees: dict[UUID, _Tree] = {}
        """The tree of each run, by the run's id."""
        self._open: dict[UUID, _Tree] = {}
        """The trees that have not ended, by the id of their outermost run, the oldest first."""
        self._ended: deque[_Tree] = deque()
        self._lock = threading.Lock()

    # -- what every kind of run does ---------------------------------------------------------------
    def _started(
        self,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        with self.guarded():
            tree = None if parent_run_id is None else self._trees.get(parent_run_id)
            if tree is None and (around := _surrounding_run()) is not None:
                # A node has started another graph with callbacks of its own, which LangChain calls an outermost run.
                found = self._trees.get(around)
                tree = None if found is None or found.ended else found
            if tree is None:
                tree = self._plant(run_id, metadata or {})
            with self._lock:
                tree.runs.add(run_id)
                self._trees[run_id] = tree

    def _plant(self, run_id: UUID, metadata: Mapping[str, Any]) -> _Tree:
        """Begin an outermost run; whether it is one is known from its parent, not from the context.

        A stream that its reader has left without closing it may still be open in the same context.
        """
        session = next((found for key in SESSION_KEYS if (found := session_of(metadata.get(key)))), None)
        block = self.block
        run = self.start(session) if block is None else block
        run.note_trace(str(run_id))
        tree = _Tree(run, run_id, owns=block is None)
        with self._lock:
            self._open[run_id] = tree
            oldest = next(iter(self._open.values())) if len(self._open) > MOST_OPEN else None
        if oldest is not None:  # the framework has not said how it ended
            self._forget(oldest)
            if oldest.owns:
                oldest.run.abandon()
        return tree

    def _finished(self, run_id: UUID, error: BaseException | None, result: Any = None) -> None:
        with self.guarded():
            tree = self._trees.get(run_id)
            if tree is None or tree.ended:
                return
            run = tree.run
            if error is not None and not isinstance(error, _BubbleUp):
                run.note_error(error)
            if tree.root != run_id:
                return
            self._forget(tree)
            if not tree.owns:
                return
            self.leave(run)
            if isinstance(error, _BubbleUp) or (isinstance(result, dict) and result.get("__interrupt__")):
                run.abandon()  # it waits for a person; the run that resumes it will have the outcome
            else:
                run.end(error, result=result)

    def _forget(self, tree: _Tree) -> None:
        tree.ended = True
        with self._lock:
            self._open.pop(tree.root, None)
            self._ended.append(tree)
            while len(self._ended) > MOST_TREES:
                for run_id in self._ended.popleft().runs:
                    self._trees.pop(run_id, None)

    def _run_of(self, run_id: UUID) -> Run | None:
        tree = self._trees.get(run_id)
        return None if tree is None or tree.ended else tree.run

    # -- chains and graphs -------------------------------------------------------------------------
    def on_chain_start(self, *_: Any, **named: Any) -> None:
        """Begin the invocation if this is the outermost run."""
        self._started(**named)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """Publish the outcome if this is the outermost run."""
        self._finished(run_id, None, outputs)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Record the error; publish it as the outcome if this is the outermost run."""
        self._finished(run_id, error)

    def on_interrupt(self, event: Any) -> None:
        """Leave the outermost run without an outcome, because the graph waits for a person."""
        with self.guarded():
            tree = self._trees.get(event.run_id)
            if tree is not None and tree.owns and tree.root == event.run_id:
                tree.run.abandon()

    # -- models ------------------------------------------------------------------------------------
    def on_chat_model_start(self, *_: Any, **named: Any) -> None:
        """Note which provider and model are used."""
        self._started(**named)
        with self.guarded():
            if (run := self._run_of(named["run_id"])) is not None and (metadata := named.get("metadata")):
                run.note_model(metadata.get("ls_provider"), metadata.get("ls_model_name"))

    def on_llm_start(self, *_: Any, **named: Any) -> None:
        """Note which provider and model are used."""
        self.on_chat_model_start(**named)

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """Count the tokens."""
        with self.guarded():
            if (run := self._run_of(run_id)) is not None:
                for message in _messages(response):
                    usage = getattr(message, "usage_metadata", None) or {}
                    run.count_tokens(usage.get("input_tokens"), usage.get("output_tokens"))
        self._finished(run_id, None, response)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Record the error; the run may recover from it, by a retry or another model."""
        self._finished(run_id, error)

    # -- tools and retrievers ----------------------------------------------------------------------
    def on_tool_start(self, *_: Any, **named: Any) -> None:
        """Remember to which run the tool belongs."""
        self._started(**named)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """Record the error of a tool that returns it to the model instead of raising."""
        with self.guarded():
            if getattr(output, "status", None) == "error" and (run := self._run_of(run_id)) is not None:
                run.note_error(f"{getattr(output, 'name', 'a tool')} failed")
        self._finished(run_id, None, output)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Record the error; the model usually recovers from it."""
        self._finished(run_id, error)

    def on_retriever_start(self, *_: Any, **named: Any) -> None:
        """Remember to which run the retriever belongs."""
        self._started(**named)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **_: Any) -> None:
        """Publish the outcome if this is the outermost run."""
        self._finished(run_id, None, documents)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Record the error."""
        self._finished(run_id, error)


def _surrounding_run() -> UUID | None:
    """Return the id of the run whose code is calling, as LangChain's context has it."""
    config = var_child_runnable_config.get()
    found = getattr((config or {}).get("callbacks"), "parent_run_id", None)
    return found if isinstance(found, UUID) else None


def _messages(response: Any) -> list[Any]:
    """Return the messages of a model's response, one for each prompt: several choices share one usage."""
    choices = (choice[0] for choice in getattr(response, "generations", None) or () if choice)
    return [message for one in choices if (message := getattr(one, "message", None)) is not None]
