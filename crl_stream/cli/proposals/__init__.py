"""``crl proposals``: changes that the system proposes, and people's reviews of them.

command     the group and its reading commands: list, show, digest
reviewing   approve, reject, defer: commands that wait for the monitor's result
enforcing   what an approval to enforce rollbacks changes in the policy
exporting   export to files for other tools
source      the current proposals on the topic
"""
