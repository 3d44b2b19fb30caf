"""Every client of Kafka outside the worker and the runtimes."""
