"""The engine over the log, without Kafka: batches of records in, rows and outputs out, all as bytes.

Read in this order:

    topology       which topics each stage reads, what it keeps and where it writes; the basis of all wiring
    roles          the roles that a worker can run; each stage belongs to one
    partition      the state of a partition beyond its rows: how far it is folded, and the policy in force
    entries        records with their messages, decoded once
    fold           the batch loop, with the laws for every stage that has a table
    inlet          turns commands into references in the log
    monitor        turns the log into rows, facts and snapshots, with the help of:
        forwards       recognises forwarded records that have arrived before
        waiting        the rows that are due at a certain time
        fleet          the hold on the whole fleet
        incidents      facts that do not come from a row: a failed fold, a gap, a new policy
    proposer       turns snapshots into proposals
    tally          turns records of the task topics into notes, in one partition
    tags           counts the tasks that fall with a provider or model
    overview       turns notes into the overview page
    mirror         the records of the mirror as bytes, and where its messages go

Around them:

    stale_writes       finds the newest record of a key when a paused process has written late
    refill             rebuilds the contents of compacted topics from the rows
    inspection         rows in the form that people see
    fleet_summary      a fleet in a few numbers
    topology_drawing   the topology as text, JSON and a flowchart
    driver             the stages in memory, for tests and replay
    streaming          a driver that forgets folded records, so that it can process any number of them

The worker, ``crl replay`` and the oracles in the tests all run these functions.
"""
