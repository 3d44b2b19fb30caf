"""Tests of the wire format, the contract and the schemas."""
