"""Tests of the proposal rules."""
