"""The simulation: the real stages of the worker on a broker in memory, in one process and without a clock.

A seed decides what is sent and where each process dies, stalls, resumes too late or rereads.

    broker      logs, changelogs and committed offsets, each as a list
    traffic     what agents, runtimes and people send in a seed
    outlet      the outputs of a stage, and where it can be stopped
    processes   a stage of ``crl_stream.worker`` on that broker, one step at a time
    simulation  one seed: which process is next, and what happens to it
    oracle      what the topics and tables must contain, whatever happens
    mutants     the guards that can be removed
    figures     the figures of seeds, added up and formatted
    program     the commands
"""
