"""The picture in ``README.md``: the topology as a flowchart, between two HTML comments."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from crl_stream.errors import ContractError
from crl_stream.stages.topology_drawing import topology_mermaid

BEGIN: Final = "<!-- topology: made by `make contract` -->"
END: Final = "<!-- end of topology -->"


def readme_of(contract: Path) -> Path | None:
    """Return the path of the README beside a contract folder; None in an installed package, which has none."""
    path = contract.parent / "README.md"
    return path if contract.name == "topics" and path.is_file() else None


def with_picture(page: str) -> str:
    """Return the page with the current picture; raise ``ContractError`` if it lacks the markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ContractError(
            f"README.md lacks the lines {BEGIN} and {END} around the topology.",
            hint="put both lines back where the picture belongs",
        )
    return f"{before}{BEGIN}\n```mermaid\n{topology_mermaid()}\n```\n{END}{after}"
