"""The results file of a campaign: one JSON line for each round played, so that a campaign can be resumed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from campaign.live.rounds import Played


class Journal:
    """A results file to append to; rounds that it already contains need not be played again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.played = read_journal(file) if file.exists() else []
        if file.exists():  # drop a truncated last line
            file.write_bytes(b"".join(msgspec.json.encode(played) + b"\n" for played in self.played))
        self.keys = {played.key for played in self.played}

    def append(self, played: Played) -> None:
        """Append a line, and return once it is on disk."""
        with self.file.open("ab") as file:
            file.write(msgspec.json.encode(played) + b"\n")
        self.played.append(played)
        self.keys.add(played.key)


def read_journal(file: Path) -> list[Played]:
    """Return every round of a results file; a truncated last line is left out."""
    found = []
    for line in file.read_bytes().splitlines():
        try:
            found.append(msgspec.json.decode(line, type=Played))
        except msgspec.DecodeError:
            break
    return found
