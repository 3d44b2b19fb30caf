"""Settings: every value a user may choose, and where it came from.

Each layer overrides the previous one: defaults, profile, ``crl.toml``, ``CRL_*`` environment, flags. ``model`` defines
the settings, and ``layers`` combines them. ``profiles`` and ``template`` serve ``crl config init``. ``remedies`` reads
the proposer's catalogue. ``policy_file`` reads only the policy of a file. ``for_clients`` loads only what a runtime's
client needs, and ``for_scripts`` only what the guide's store needs.
"""

from crl_stream.settings.for_clients import ClientSettings, load_client_settings, settings_of_client
from crl_stream.settings.for_scripts import load_script_settings
from crl_stream.settings.layers import Settings, load_settings
from crl_stream.settings.origin import Origin
from crl_stream.settings.profiles import PROFILES
from crl_stream.settings.remedies import load_remedies

__all__ = [
    "PROFILES",
    "ClientSettings",
    "Origin",
    "Settings",
    "load_client_settings",
    "load_remedies",
    "load_script_settings",
    "load_settings",
    "settings_of_client",
]
