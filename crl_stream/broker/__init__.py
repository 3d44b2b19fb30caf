"""A real Apache Kafka for machines that have none: no Docker, no Maven, no Java needed.

``jars`` fetches the pinned jars, ``java`` finds a runtime for them, ``configuration`` writes what Kafka reads, and
``process`` starts, finds and stops the one node.  It listens on loopback only and is meant for trying, for
developing and for tests.
"""

from crl_stream.broker.process import EmbeddedBroker, Endpoint

__all__ = ["EmbeddedBroker", "Endpoint"]
