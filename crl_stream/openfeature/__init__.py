"""The OpenFeature provider: through it, an agent that uses OpenFeature gets its variants and reports its outcomes.

    from openfeature import api
    from crl_stream.openfeature import CrlProvider, tracked

    api.set_provider_and_wait(CrlProvider())
    client = api.get_client()
    with tracked(client, "refund-agent/answer", context) as outcome:
        configuration = client.get_object_value("refund-agent/answer", DEFAULTS, context)
        answer = call_the_model(configuration)
        outcome.quality = judge(answer)

It needs the package ``openfeature-sdk`` (``pip install crl-stream[openfeature]``). ``docs/openfeature.md`` says what
each flag key, reason and error code means.

Read in this order:

    provider     the provider: lifetime, evaluations, events and tracking
    flags        what a flag key names, and what an evaluation of it answers
    evaluations  the evaluations of this process, so that an outcome finds the one it belongs to
    outcomes     from tracking events to outcomes and late scores
    tracking     what agents use to track: ``outcome_of`` and ``tracked``
"""

try:
    import openfeature.provider as _needed  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"crl_stream.openfeature needs the package openfeature-sdk ({error}): pip install 'crl-stream[openfeature]'",
        name=error.name,
    ) from None

from crl_stream.openfeature.provider import CrlProvider
from crl_stream.openfeature.tracking import Outcome, outcome_of, tracked

__all__ = ["CrlProvider", "Outcome", "outcome_of", "tracked"]
