"""One task's engine: an outcome or a command, what follows from it, and what is told.

Read in this order, which is that of an outcome:

    step               a message from beginning to end
    turn               the message under way: its row, its place in the log, its policy
    rules              a policy made ready for the hot path
    row                what is kept about a task, in one record
    record             an outcome is recorded
    dedupe             ids that were met before
    learning           what an outcome is worth
    evidence           how likely it is that a variant has become worse
    likelihood         the arithmetic of that
    window             the last outcomes of a variant, with their sums and Q
    runtimes           which runtimes follow which epoch
    protection         what follows from a verdict: alert, rollback, recovery
    verdict            HEALTHY, DEGRADED or INCONCLUSIVE
    detector           what the file of a detector defines
    detectors/         one file for each metric
    grounds            why the verdict is what it is
    targets            where a rollback goes
    changes            what may happen to a task, as values
    lifecycle          the only writer of what happens, and the table of all transitions
    facts              what is told of each change
    decision_matrix    what the guide's matrix says, and who is promoted
    publishing         what is published after a message
    snapshot           what is true of a task now

Beside the outcome:

    feedback           scores that come late
    commands           what people order
    registration       what they say about a variant
    standing_orders    pins and holds, and when they are over
    variants           which variants a task knows
    restatement        the compacted topics said once more from a row
"""
