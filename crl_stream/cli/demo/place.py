"""Keeps the demo apart from real data, whatever the settings say.

The demo has its own topics, consumer groups, folders and policy. Its collapse appears in no real status, its rollbacks
are written to no real file, and no one is alerted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from crl_stream.cli.session import Session
from crl_stream.settings import Settings
from crl_stream.settings.model import DEMO_APP_ID, POLICY_SECTIONS, leaves

PREFIX: Final = "demo."
"""Prefix added in front of the topic prefix in the settings."""
APP_ID: Final = DEMO_APP_ID
EXPLORATION: Final = 0.15
RUNTIME_SHARE: Final = 1.0
"""The largest share of the failures that one runtime may report: no limit, because the demo has few runtimes.

One of them may report most of the failures by chance, and a limit would then delay the rollback.
"""
PROCESSES: Final = ("monitor", "services")
"""The processes of the demo; no notifier, because the demo must not alert anyone."""


def demo_folder(settings: Settings) -> Path:
    """Return the data folder of the demo's processes."""
    return settings.worker.data_dir / "demo"


def demo_flags(settings: Settings) -> dict[str, str]:
    """Return the settings of this call with the demo's own values; the story assumes the guide's policy."""
    folder, default = demo_folder(settings), leaves()
    changed = [name for name, origin in settings.origins.items() if name in default and origin.value != default[name]]
    flags = {name: str(default[name]) for name in changed if name.partition(".")[0] in POLICY_SECTIONS}
    return flags | {
        "profile": "guide",
        "operations.exploration": str(EXPLORATION),
        "rollback.runtime_share": str(RUNTIME_SHARE),
        "kafka.topic_prefix": f"{PREFIX}{settings.kafka.topic_prefix}",
        "worker.app_id": APP_ID,
        "worker.instance_id": "",
        "worker.data_dir": str(folder),
        "telemetry.folder": str(folder / "telemetry"),
        "mirrors.langfuse.host": "",
        "mirrors.mlflow.host": "",
    }


def demo_session(session: Session) -> Session:
    """Return a session for the demo; ``session`` stays unchanged."""
    own = Session(session.config_file, [], verbose=session.verbose)
    own.flags = {**session.flags, **demo_flags(session.settings)}
    return own
