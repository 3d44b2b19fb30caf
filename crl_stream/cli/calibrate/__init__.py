"""``crl calibrate``: what the policy of a task costs, and what another one would.

command    the command: options, progress, plot
source     the history and the present policy, from Kafka or from files
page       the figures as text, with bars; document: the same as JSON
"""
