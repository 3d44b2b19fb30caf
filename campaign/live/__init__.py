"""Faults on a real broker and real workers."""
