"""An agent whose prompts are in a store: ``prompt_agent.py mlflow|langfuse URL AGENT TASK``.

It asks crl-stream which variant to use, and fetches the version that the variant's ``ref`` names with the store's own
client. Each line of its stdin, ``{"turns": 3, "fails": ["bold"], "epoch": 2}``, is answered with the variant, the epoch
and the prompt of each turn. It runs with the packages of ``requirements/mirrors.txt``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from crl_stream.client import Client

Load = Callable[[str], str]


def from_mlflow(url: str) -> Load:
    """Read prompts from MLflow."""
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    import mlflow

    mlflow.set_tracking_uri(url)
    return lambda ref: str(mlflow.genai.load_prompt(ref).template)


def from_langfuse(url: str) -> Load:
    """Read prompts from Langfuse."""
    from langfuse import Langfuse

    langfuse = Langfuse(
        public_key=os.environ["LANGFUSE_PUBLIC_KEY"],
        secret_key=os.environ["LANGFUSE_SECRET_KEY"],
        base_url=url,
        tracing_enabled=False,
    )

    def load(ref: str) -> str:
        name, _, version = ref.removeprefix("langfuse:").rpartition("@")
        return str(langfuse.get_prompt(name, version=int(version)).prompt)

    return load


STORES = {"mlflow": from_mlflow, "langfuse": from_langfuse}


def main() -> None:
    """Do what the lines say."""
    store, url, *task = sys.argv[1:]
    load = STORES[store](url)
    with Client(runtime_id="runtime-1", exploration=0.0) as crl:
        for line in sys.stdin:
            order = json.loads(line)
            if not crl.resolver.wait_for_epoch(*task, order.get("epoch", 0), timeout=30):
                raise SystemExit(f"epoch {order['epoch']} did not arrive")
            done = []
            for _ in range(order["turns"]):
                with crl.invocation(*task, default="none") as inv:
                    prompt = load(inv.ref or "")
                    if inv.variant_id in order.get("fails", ()):
                        inv.failed()
                done.append([inv.variant_id, inv.epoch, prompt])
            crl.publisher.flush(30)
            print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
