"""Tries a policy on a recorded log: what the engine would have decided differently, and at what price.

The same engine folds the same log twice, once under each policy. Nothing here writes to a topic.

Read in this order:

    run         one fold of the log under one policy, and the decisions that it makes
    decisions   the facts of the engine that count as decisions, and what makes two of them the same decision
    traffic     the outcomes of each task in order, which both folds share
    matching    pairs the decisions of two folds: added, removed, earlier, later
    estimate    the bad invocations that a policy would have saved or lost
    record      compares what a fold decides with what was published when the log was written
    comparison  both folds side by side, task by task
    report      the comparison as one JSON document
    sentences   the comparison in words, for a terminal and for a page
    page        the comparison as one HTML file; drawing: the timeline of a task; style: the style sheet
    markup      builds HTML in which no text can become markup
"""
