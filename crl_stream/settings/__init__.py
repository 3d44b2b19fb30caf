"""Settings: every value a user may choose, and where it came from.

Each layer overrides the previous one: defaults, profile, ``crl.toml``, ``CRL_*`` environment, flags.
``runtime_sections`` and ``model`` define the settings, and ``layers`` combines them. ``profiles`` and ``template``
serve ``crl config init``. ``remedies`` reads the proposer's catalogue. ``policy_file`` reads only the policy of a file.
``for_clients`` loads only what a runtime's client needs, without pydantic: ``fields`` reads its values, and ``names``
lists the settings that it does not read. ``for_scripts`` loads only what the guide's store needs.

A name of this package is imported when it is first used, so that a client imports nothing that only a worker needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from crl_stream.settings.for_clients import ClientSettings, load_client_settings, settings_of_client
    from crl_stream.settings.for_scripts import load_script_settings
    from crl_stream.settings.layers import Settings, load_settings
    from crl_stream.settings.origin import Origin
    from crl_stream.settings.profiles import PROFILES
    from crl_stream.settings.remedies import load_remedies
    from crl_stream.settings.runtime_sections import RuntimeSettings

__all__ = [
    "PROFILES",
    "ClientSettings",
    "Origin",
    "RuntimeSettings",
    "Settings",
    "load_client_settings",
    "load_remedies",
    "load_script_settings",
    "load_settings",
    "settings_of_client",
]

_MODULES: Final = {
    "PROFILES": "profiles",
    "ClientSettings": "for_clients",
    "Origin": "origin",
    "RuntimeSettings": "runtime_sections",
    "Settings": "layers",
    "load_client_settings": "for_clients",
    "load_remedies": "remedies",
    "load_script_settings": "for_scripts",
    "load_settings": "layers",
    "settings_of_client": "for_clients",
}

if not TYPE_CHECKING:  # a type checker would otherwise accept any name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return found
