"""The ``crl.toml`` that ``crl config init`` writes: few settings, each with its reason."""

from __future__ import annotations

from crl_stream.core.policy import Degradation
from crl_stream.settings.profiles import MEANING, PROFILES


def render(profile: str) -> str:
    """Return the text of a ``crl.toml`` for ``profile``."""
    guard = PROFILES[profile].get("degradation.guard", Degradation().guard)
    profiles = "\n".join(f"#   {name:<13}{meaning}" for name, meaning in MEANING.items())
    return f'''\
# Settings of crl-stream.  All there are, their values and where each comes from:  crl config show
# Layers: defaults < profile < this file < CRL_* environment < flags.

{profiles}
profile = "{profile}"

[kafka]
# Empty: the embedded broker.  A cluster:  "kafka-1:9092,kafka-2:9092"
bootstrap_servers = ""
# How many tasks can be worked on at once, over all workers; fixed once the log exists.
partitions = 4
# 3 on a cluster.
replication_factor = 1

[worker]
# "memory" holds every row of the worker's tasks, about 1.1 KB for each variant.  "rocksdb" keeps them in data_dir, for
# more than memory holds; it needs  pip install 'crl-stream[rocksdb]'  and a data_dir for each worker.  The state is in
# Kafka either way: the folder can be deleted.
store = "memory"

[degradation]
# "none" is the rule of the guide alone.  Measured, that rule rolls a healthy variant back every 40 to 132
# invocations, because 20 outcomes vary that much by chance.  "evidence" acts only when a sequential test
# agrees, which costs about one false rollback in false_alarm_budget invocations.
guard = "{guard}"
false_alarm_budget = 5000

[operations]
# "enforce" acts, "shadow" only says what it would do, "observe" only alerts: a new fleet starts with shadow.
mode = "enforce"
# Share of invocations that try another variant, so that there are figures to choose by.  0.0 in production.
exploration = 0.0

# What the proposer recommends to change is a catalogue; this names your own (crl_stream/settings/modifications.toml is
# the shipped one, to copy and edit):
# [proposer]
# modifications_file = "modifications.toml"

# One agent or one task may have a policy of its own:
# [agents."backend-architect".degradation]
# lookback_window = 40
# [tasks."backend-architect/api-design".auto_apply]
# q_threshold = 0.95
'''
