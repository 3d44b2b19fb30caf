"""The engine over the log: batches of records in, rows and outputs out, as bytes on both sides and without Kafka.

Read in this order:

    topology       which stage reads which topics, what it keeps and where it writes; the basis of all wiring
    roles          what a worker can be told to do; each stage belongs to one role
    partition      the state of a partition besides its rows: how far it is folded, and the policy in force
    entries        records with their messages, decoded once
    fold           the batch loop, with the laws that hold for every stage with a table
    inlet          turns commands into references in the log
    monitor        turns the log into rows, facts and snapshots, with the help of:
        forwards       which forwarded records have arrived before
        waiting        the rows that wait for a time
        fleet          the hold on the whole fleet
        incidents      facts that do not come from a row: a failing fold, a gap, a new policy
    proposer       turns snapshots into proposals
    tally          turns records of the tasks' topics into notes, in one partition
    overview       turns notes into the page about the system

Around them:

    stale_writes       which record of a compacted topic is the newest after a paused process has written late
    refill             what compacted topics must contain, made from the rows
    inspection         rows in the form that people see; fleet_summary: a fleet in a few numbers
    topology_drawing   the topology as text, JSON and a flowchart
    driver             the stages in memory, for tests and replay; streaming: over any number of records

The worker, ``crl replay`` and the oracles in the tests all run these functions.
"""
