"""Reads all scores of an address with the real ``langfuse`` package, page by page, and prints what it understood."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from langfuse.api import LangfuseAPI


def main() -> None:
    """Print one line with a list: id, value, subject and metadata of every score."""
    url, user, password, name, since = sys.argv[1:]
    client = LangfuseAPI(base_url=url, username=user, password=password)
    found, cursor = [], None
    while True:
        page = client.scores.get_many(
            limit=100,
            cursor=cursor,
            fields="details,subject",
            name=name,
            from_timestamp=datetime.fromisoformat(since).astimezone(UTC),
        )
        for one in page.data:
            subject = one.subject
            found.append([type(one).__name__, one.id, one.value, subject and subject.kind, one.metadata])
        cursor = page.meta.cursor
        if cursor is None:
            break
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
