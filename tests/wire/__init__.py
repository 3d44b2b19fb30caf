"""Bytes, contract and schemas."""
