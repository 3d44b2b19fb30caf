"""Every number a person may choose, and where its value came from.

Layers, each over the one before: defaults, profile, ``crl.toml``, ``CRL_*`` environment, flags.  ``model`` says what
there is, ``layers`` puts it together, ``profiles`` and ``template`` are what ``crl config init`` offers.
"""

from crl_stream.settings.layers import Settings, load_settings
from crl_stream.settings.origin import Origin
from crl_stream.settings.profiles import PROFILES

__all__ = ["PROFILES", "Origin", "Settings", "load_settings"]
