"""Tests with other projects' real packages, each group in an environment of its own (``scripts/environment``)."""
