"""``crl calibrate``: what a task's policy costs, and what others would cost.

command    the command: options, progress, plot
source     the history and the present policy, from Kafka or from files
page       the figures as text, with bars; document: the same as JSON
"""
