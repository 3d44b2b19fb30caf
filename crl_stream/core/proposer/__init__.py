"""What the monitor's snapshots of a task suggest to people.

Read in this order:

    step      snapshots of one task become proposals
    row       what is kept: open proposals, and what must not be proposed again yet
    draft     what a rule looks at, and what it comes to
    rules/    one file for each type of proposal
    remedies  what to change in a variant, by what goes wrong with it
"""
