"""``crl proposals``: what the system would improve, and the people's word on it.

command     the group, and what only reads: list, show, digest
reviewing   approve, reject, defer: orders that wait for the monitor's word
exporting   export to files for other tools
source      the proposals of the topic, as they stand
"""
