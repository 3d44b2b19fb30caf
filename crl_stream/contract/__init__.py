"""The contract's files: catalog, schemas, AsyncAPI document, golden examples.

They are in ``topics/`` in the source tree, where users of any language look. The wheel has only the catalog, as
``crl_stream/_topics``, because a runtime should stay small. All code finds them through this module.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from crl_stream.errors import ContractError
from crl_stream.wire.catalog import Catalog, parse_catalog


def contract_root() -> Path:
    """Return the folder with ``catalog.toml``; raise ``ContractError`` if the installation lacks it."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_topics", package.parent / "topics"):
        if (folder / "catalog.toml").is_file():
            return folder
    raise ContractError(
        "This installation has no topic catalog.",
        hint="reinstall crl-stream; the package must contain the files of topics/",
    )


@cache
def load_catalog() -> Catalog:
    """Return the catalog of this release; raise ``ContractError`` if it is not usable."""
    path = contract_root() / "catalog.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ContractError(
            f"The topic catalog cannot be read: {error.strerror}.",
            hint=f"make {path.name} readable for this user, or reinstall crl-stream",
        ) from error
    return parse_catalog(text)
