"""What an agent runtime uses.

    from crl_stream.client import Client

    with Client() as crl:
        with crl.invocation("backend-architect", "api-design", default="api-baseline") as inv:
            answer = call_the_model(inv.variant_id, inv.configuration)
            inv.quality = judge(answer)

``Resolver`` says which variant to use, from memory; ``Publisher`` sends the outcome in the background.  Neither blocks
the agent nor raises into it, and both work in any program, with or without an event loop.
"""

from crl_stream.client.health import Health
from crl_stream.client.invocation import Client, RunningInvocation
from crl_stream.client.publisher import Publisher, PublisherStats
from crl_stream.client.resolver import Resolution, Resolver

__all__ = ["Client", "Health", "Publisher", "PublisherStats", "Resolution", "Resolver", "RunningInvocation"]
