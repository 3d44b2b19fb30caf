"""A safety layer for fleets of AI agents, on Kafka."""

__version__ = "0.1.0"
