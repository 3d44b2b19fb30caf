"""A LangGraph agent that a hook joins; the lines marked `# joins` are all it takes.

The model is scripted, so you need no API key. The example uses CRL_BOOTSTRAP_SERVERS, else the Kafka of `crl up`.
"""

from __future__ import annotations

import time
from itertools import cycle
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, SystemMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from crl_stream.client import Client  # joins
from crl_stream.hooks.langgraph import CrlCallback  # joins

hook = CrlCallback(Client(), "refund-agent", "langgraph-example", default="careful")  # joins
usage = {"input_tokens": 120, "output_tokens": 9, "total_tokens": 129}
model = GenericFakeChatModel(messages=cycle([AIMessage("Your refund is on its way.", usage_metadata=usage)]))


def answer(state: MessagesState) -> dict[str, Any]:
    """Answer with the prompt of the variant, if it was registered with one."""
    prompt = (hook.configuration or {}).get("prompt", "Answer kindly.")
    print(f"{hook.variant_id}: {prompt}")
    time.sleep(0.2)  # a real model takes longer
    return {"messages": [model.invoke([SystemMessage(prompt), *state["messages"]])]}


graph = StateGraph(MessagesState)
graph.add_node("answer", answer)
graph.add_edge(START, "answer")
graph.add_edge("answer", END)
agent = graph.compile()

for number in range(10):
    config = {"configurable": {"thread_id": f"conversation-{number}"}}
    config["callbacks"] = [hook]  # joins
    agent.invoke({"messages": [("user", "Where is my refund?")]}, config)
