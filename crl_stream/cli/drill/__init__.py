"""``crl drill``: lets a variant fail on a reserved task, and checks that the protection works from end to end.

command      the command: options, output, exit code
drilling     the whole drill: what is known, which partitions, and one exercise on each
exercise     the drill of one partition, step by step
plan         how many outcomes the policy in force needs
witness      what the topics and the client have shown so far
report       what a drill has found, as JSON and in words
explanation  what is missing, and what to do next
standing     the last drill on each partition, for ``crl status``
"""
