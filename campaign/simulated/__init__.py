"""The simulation: the real stages of the worker on a broker in memory, in one process and without a clock.

A seed decides what is sent and where every process dies, stalls, comes back too late or reads again.

    broker      logs, changelogs and committed offsets, as a list each
    traffic     what agents, runtimes and people send in a seed
    outlet      what a stage writes through, and where it can be stopped
    processes   a stage of ``crl_stream.worker`` on that broker, one step at a time
    simulation  one seed: who is next, and what happens to it
    oracle      what must lie on the topics and in the tables whatever happened
    mutants     the guards that can be taken away
    figures     what a seed came to, summed and printed
    program     the commands
"""
