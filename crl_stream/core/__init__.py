"""The engine: the safety guide as pure functions over values.

Read in this order:

    identity           names of agents, tasks and variants
    figures            numbers of any size in a few digits, and the noun that goes with one
    instant            times: milliseconds internally, RFC 3339 text externally
    ids                the id of every fact, and digests
    drills             the reserved tasks on which the protection is tested, and the recorded result of each
    messages/          everything that is read from and written to topics, as values
    policy             the settings that determine decisions; modes: those of its words that messages repeat
    policy_difference  lists the settings that differ between two policies
    policy_size        limits the size of the records that a policy allows
    monitor/           one task: processes outcomes and commands, decides what follows, and publishes the result
    proposer/          turns the snapshots of a task into proposals for people
    reach              what a message touches, and what happened last time, in words
    way_back           how each command of a person is undone, in words
    shared_tags        how many tasks with the same provider or model have fallen
    mirroring/         the labels of prompt stores, which follow the active variants
    overview/          builds the page that describes the whole system

Shared by the modules above:

    folder             loads the folders that hold one file per detector, rule, channel or exploration policy
    packing            rows as MessagePack
    version            the version of the engine, which facts carry
"""
