"""An agent of the OpenAI Agents SDK that a hook joins; the lines marked `# joins` are all it takes.

The model is scripted, so you need no API key. The example uses CRL_BOOTSTRAP_SERVERS, else the Kafka of `crl up`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from agents import Agent, ModelResponse, SQLiteSession, Usage, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message

from crl_stream.client import Client  # joins
from crl_stream.hooks.openai_agents import CrlRunner  # joins

hook = CrlRunner(Client(), "refund-agent", "openai-agents-example", default="careful")  # joins
set_tracing_disabled(disabled=True)  # with tracing, spans are sent to OpenAI


def instructions(_context: Any, _agent: Any) -> str:
    """Return the prompt of the variant, if it was registered with one."""
    prompt: str = (hook.configuration or {}).get("prompt", "Answer kindly.")
    print(f"{hook.variant_id}: {prompt}")
    return prompt


async def main() -> None:
    """Hold ten conversations."""
    usage = Usage(requests=1, input_tokens=120, output_tokens=9, total_tokens=129)
    answer = ModelResponse([assistant_message("Your refund is on its way.")], usage, response_id=None)
    agent = Agent(name="refunds", instructions=instructions, model=ScriptedModel([answer] * 10))
    for number in range(10):
        await asyncio.sleep(0.2)  # a real model takes longer
        session = SQLiteSession(f"conversation-{number}")
        await hook.run(agent, "Where is my refund?", session=session)  # joins: instead of Runner.run


asyncio.run(main())
