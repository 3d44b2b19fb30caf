"""The client for agent runtimes.

    from crl_stream.client import Client

    with Client() as crl:
        with crl.invocation("backend-architect", "api-design", default="api-baseline") as inv:
            answer = call_the_model(inv.variant_id, inv.configuration)
            inv.quality = judge(answer)

``Resolver`` returns the variant to use, from memory; ``Publisher`` sends the outcome in the background. Neither blocks
the agent or raises into it, and both work in any program, with or without an event loop.

Read in this order:

    invocation      the client, and one invocation as a ``with`` block
    resolver        which variant to use, from memory
    following       reads the topics that name the active variants, and follows them
    sessions        the variants with which sessions began
    exploration/    which variant an exploring invocation tries, one file per policy
    publisher       checks outcomes and queues them
    outbox          the bounded queue between the agent's threads and the sender
    sending         sends what is queued, and replaces a broken producer
    scores          converts the numbers of any library to plain numbers

What they build on:

    setting_up      loads the client's settings, and notes what is wrong with them
    address         where Kafka is
    keeping         the file that keeps active variants for use while Kafka is down
    background      a thread that restarts its work until it is told to stop
    event_loop      the event loop of that thread
    native_threads  real threads, even under gevent
    lifetimes       handles forks, and the end of the program
    troubles        problems, logged rarely but never silently dropped
    health          what is connected, and what was lost
"""

import aiokafka  # noqa: F401 - imported here, because it takes longer than making a client may take

from crl_stream.client.health import Health
from crl_stream.client.invocation import Client, RunningInvocation
from crl_stream.client.publisher import Publisher, PublisherStats
from crl_stream.client.resolver import Resolution, Resolver

__all__ = ["Client", "Health", "Publisher", "PublisherStats", "Resolution", "Resolver", "RunningInvocation"]
