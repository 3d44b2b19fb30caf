"""The style sheet, the script and the chart library; only files that are in the folder at the start are served."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

from crl_stream.dashboard.web.access import Refusal
from crl_stream.dashboard.web.answers import HEADERS

TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}


class _File(NamedTuple):
    body: bytes
    kind: str
    tag: str


class StaticFiles:
    """The files of a folder, in memory; a name that is not one of them is never looked up on the disk."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, _File] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in TYPES:
                body = path.read_bytes()
                tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
                self._files[path.relative_to(folder).as_posix()] = _File(body, TYPES[path.suffix], tag)

    def answer(self, request: web.Request, name: str) -> web.Response:
        """Return a file, or 304 if the browser has it already."""
        found = self._files.get(name)
        if found is None:
            raise Refusal(404, "There is no such file.")
        headers = HEADERS | {"ETag": found.tag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == found.tag:
            return web.Response(status=304, headers=headers)
        response = web.Response(body=found.body, content_type=found.kind, charset="utf-8", headers=headers)
        response.enable_compression()
        return response
