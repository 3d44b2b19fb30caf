"""Hooks join an existing agent with about two lines; each framework has one optional module.

    from crl_stream.client import Client
    from crl_stream.hooks.langgraph import CrlCallback

    hook = CrlCallback(Client(), "support", "refunds", default="v1")
    graph.invoke(question, {"callbacks": [hook]})

A hook chooses the variant when a run starts and publishes exactly one outcome when it ends. The agent reads
``hook.variant_id`` and ``hook.configuration``. ``docs/hooks.md`` says what each hook measures and what it calls an
error.

    langgraph      LangGraph and LangChain: a callback handler
    openai_agents  the OpenAI Agents SDK: runs an agent like ``Runner``
    pydantic_ai    pydantic-ai: a capability
    claude_agent   the Claude Agent SDK: passes messages through
    crewai         CrewAI: a listener on its event bus

What they share:

    watching       the options, and one run from its variant to its only outcome

A hook imports its framework; this package imports none of them.
"""
