"""The bridges' mappings: pure, so these tests need neither Kafka nor other packages."""
