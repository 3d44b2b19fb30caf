"""Evaluates a flag with flagd's provider in file mode; prints a JSON line for each line on stdin.

    flagd_file.py FILE FLAG_KEY

A line is a JSON list of sessions, and the answer is what each of them gets. The empty line waits for the next change.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

from crl_stream.wire.weights import bucket_of


def evaluate(key: str, session: str, *, ours: bool) -> dict[str, Any]:
    attributes: Any = {"crl_bucket": bucket_of(session)} if ours else {}
    details = api.get_client().get_object_details(key, {}, EvaluationContext(session, attributes))
    return {
        "variant": details.variant,
        "value": details.value,
        "reason": str(details.reason),
        "metadata": dict(details.flag_metadata),
        "error": details.error_message,
    }


def main() -> None:
    file, key = sys.argv[1:]
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=file, deadline_ms=100)
    api.set_provider_and_wait(provider)
    pause = threading.Event()
    for line in sys.stdin:
        asked = json.loads(line)
        if "until" in asked:
            # The provider reports no event for a file that was adopted, so ask until the answer changes.
            while evaluate(key, "anyone", ours=False)["variant"] != asked["until"]:
                pause.wait(0.02)
        found = [evaluate(key, session, ours=asked["ours"]) for session in asked["sessions"]]
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
