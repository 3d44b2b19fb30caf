"""A real Apache Kafka for machines that have none; it needs no Docker, Maven or Java.

``jars`` fetches the pinned jars, ``java`` finds a runtime for them, ``configuration`` writes Kafka's configuration, and
``process`` starts, finds and stops the single node. It listens on loopback only and is meant for trials, development
and tests.
"""

from crl_stream.broker.process import EmbeddedBroker, Endpoint

__all__ = ["EmbeddedBroker", "Endpoint"]
