"""Where the demo happens: apart from what is real, whatever the settings of this call lead to.

Topics, consumer groups, folders and the policy of the demo are its own, so that its collapse is in no real status, its
rollbacks are in no real file, and no person is alerted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from crl_stream.cli.session import Session
from crl_stream.settings import Settings
from crl_stream.settings.model import POLICY_SECTIONS, leaves

PREFIX: Final = "demo."
"""Put before the topic prefix of the settings."""
APP_ID: Final = "crl-demo"
EXPLORATION: Final = 0.15
PROCESSES: Final = ("monitor", "services")
"""No notifier: alerts of the demo are for no one."""


def demo_folder(settings: Settings) -> Path:
    """The data folder of the demo's processes."""
    return settings.worker.data_dir / "demo"


def demo_flags(settings: Settings) -> dict[str, str]:
    """Settings of the demo, over those of this call; its story is told of the defaults of the policy."""
    folder, default = demo_folder(settings), leaves()
    changed = [name for name, origin in settings.origins.items() if name in default and origin.value != default[name]]
    flags = {name: str(default[name]) for name in changed if name.partition(".")[0] in POLICY_SECTIONS}
    return flags | {
        "profile": "guide",
        "operations.exploration": str(EXPLORATION),
        "kafka.topic_prefix": f"{PREFIX}{settings.kafka.topic_prefix}",
        "worker.app_id": APP_ID,
        "worker.instance_id": "",
        "worker.data_dir": str(folder),
        "telemetry.folder": str(folder / "telemetry"),
    }


def demo_session(session: Session) -> Session:
    """The session of the demo; ``session`` is left as it is."""
    own = Session(session.config_file, [], verbose=session.verbose)
    own.flags = {**session.flags, **demo_flags(session.settings)}
    return own
