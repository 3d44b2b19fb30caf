"""Turns the monitor's snapshots of a task into proposals for people.

Read in this order:

    step      turns snapshots of one task into proposals
    row       what is kept: open proposals, and what must not be proposed again yet
    draft     what a rule looks at, and what it returns
    rules/    one file for each type of proposal
    filed     the proposals that come from outside
    remedies  what to change in a variant, by kind of failure
"""
