"""The engine: the safety guide as pure functions over values.

Read in this order:

    identity           the names of agents, tasks and variants
    instant            milliseconds inside, RFC 3339 text outside
    ids                the id of every fact, and digests
    messages/          everything that is read and written, as values
    policy             every number that decides
    policy_difference  two policies compared, for people
    policy_size        how large a policy lets the records of a task grow
    monitor/           one task: an outcome or a command, what follows from it, and what is told
    proposer/          what is proposed to people, from the snapshots of a task
    overview/          the page of the whole system

What these share:

    folder             folders that are lists: one file for each detector, rule, channel and exploration policy
    packing            rows as MessagePack
    version            the version of the engine, which every fact names
"""
