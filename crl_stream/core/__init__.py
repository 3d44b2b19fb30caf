"""The engine: the safety guide as pure functions over values.

Read in this order:

    identity           names of agents, tasks and variants
    instant            times: milliseconds internally, RFC 3339 text externally
    ids                the id of every fact, and digests
    messages/          everything that is read from and written to topics, as values
    policy             every number that decides something
    policy_difference  two policies compared, for people
    policy_size        how large a policy lets the records of a task grow
    monitor/           one task: takes outcomes and commands, decides what follows, and publishes it
    proposer/          turns the snapshots of a task into proposals for people
    overview/          makes the page about the whole system

Shared by these:

    folder             folders that serve as lists: one file for each detector, rule, channel and exploration policy
    packing            rows as MessagePack
    version            the version of the engine, which every fact names
"""
