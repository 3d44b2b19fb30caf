"""The ``crl.toml`` that ``crl config init`` writes: few settings, each with its reason."""

from __future__ import annotations

from crl_stream.core.policy import Degradation, Rollout
from crl_stream.settings.profiles import MEANING, PROFILES


def render(profile: str) -> str:
    """Return the text of a ``crl.toml`` for ``profile``."""
    guard = PROFILES[profile].get("degradation.guard", Degradation().guard)
    stages = PROFILES[profile].get("rollout.stages", Rollout().stages)
    profiles = "\n".join(f"#   {name:<13}{meaning}" for name, meaning in MEANING.items())
    return f'''\
# Settings of crl-stream.  To see all settings, their values and where each comes from:  crl config show
# Layers: defaults < profile < this file < CRL_* environment < flags.

{profiles}
profile = "{profile}"

[kafka]
# Empty: the embedded broker.  A cluster:  "kafka-1:9092,kafka-2:9092"
bootstrap_servers = ""
# How many tasks can be processed at once, across all workers; fixed once the log exists.
partitions = 4
# Use 3 on a cluster.
replication_factor = 1

[worker]
# "memory" keeps every row of the worker's tasks in memory, about 1.1 KB for each variant.  "rocksdb" keeps the rows in
# data_dir, for fleets that do not fit in memory; it needs  pip install 'crl-stream[rocksdb]'  and a separate data_dir
# for each worker.  Either way the state is in Kafka, so the folder can be deleted.
store = "memory"

[degradation]
# "none" is the guide's rule alone.  In measurements, that rule rolls a healthy variant back every 40 to 132
# invocations, because 20 outcomes vary that much by chance.  "evidence" rolls back only when a sequential test also
# agrees: about one false rollback in false_alarm_budget invocations.
guard = "{guard}"
false_alarm_budget = 5000

[operations]
# "enforce" acts, "shadow" only reports what it would do, "observe" only alerts.  Start a new fleet with "shadow".
mode = "enforce"
# Share of invocations that try another variant, to learn how good it is.  Use 0.0 in production.
exploration = 0.0

[rollout]
# A promotion gives a variant these shares of the invocations, one after another, before it becomes active.  With [],
# promotions take effect at once.
stages = {list(stages)}

# The proposer takes its recommended changes from a catalogue.  To use your own, copy and edit the shipped one
# (crl_stream/settings/modifications.toml) and name the copy here:
# [proposer]
# modifications_file = "modifications.toml"

# An agent or a task can have its own policy:
# [agents."backend-architect".degradation]
# lookback_window = 40
# [tasks."backend-architect/api-design".auto_apply]
# q_threshold = 0.95
'''
