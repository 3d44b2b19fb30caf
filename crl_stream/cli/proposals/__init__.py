"""``crl proposals``: changes that the system proposes, and people's reviews of them.

command     the group and its read-only commands: list, show, digest
reviewing   approve, reject, defer: commands that wait for the monitor's result
enforcing   the change of the policy when a proposal to enforce rollbacks is approved
exporting   export to files for other tools
source      the current proposals on the topic
"""
