"""The engine over the log: batches of records in, rows and outputs out; bytes on both sides, no Kafka.

Read in this order:

    topology       which stage reads which topics, what it keeps and where it writes; everything is wired from here
    roles          what a worker may be told to do; each stage belongs to one
    partition      the state of a partition beside its rows: how far it is folded, and under which policy
    entries        records with what they say, decoded once
    fold           the one batch loop, under the laws that every stage with a table keeps
    inlet          commands become references in the log
    monitor        the log becomes rows, facts and snapshots; on the way:
        forwards       which forwarded records have come before
        waiting        the rows that wait for time
        fleet          the hold of the whole fleet
        incidents      facts that no row causes: a failing fold, a gap, a new policy
    proposer       snapshots become proposals
    tally          records of the tasks' topics become notes, in one partition
    overview       notes become the page of the system

Around them:

    stale_writes       which record of a compacted topic is the newest, when a paused process wrote late
    refill             what compacted topics have to hold, from the rows
    inspection         rows as people may see them; fleet_summary: a fleet in a few numbers
    topology_drawing   the topology as text, JSON and a flowchart
    driver             the stages in memory, for tests and replay; streaming: over any number of records

The worker, ``crl replay`` and the oracles of the tests run these functions.
"""
