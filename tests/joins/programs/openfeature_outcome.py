"""Publishes one outcome through OpenFeature: ``openfeature_outcome.py TASK VARIANT``."""

from __future__ import annotations

import sys

from openfeature import api
from openfeature.evaluation_context import EvaluationContext

from crl_stream.openfeature import CrlProvider, tracked

task, variant = sys.argv[1:]
api.set_provider_and_wait(CrlProvider())
context = EvaluationContext(targeting_key="conversation-1")
client = api.get_client()
details = client.get_string_details(f"{task}/variant", variant, context)
with tracked(client, task, context):
    print(details.value)
api.shutdown()
