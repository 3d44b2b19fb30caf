"""The simulation: the real stages of the worker on a broker in memory, in one process and without a clock.

A seed determines what is sent, and where each process dies, stalls, resumes too late or rereads records.

    broker      logs, changelogs and committed offsets, each as a list
    traffic     what agents, runtimes and people send
    outlet      the outputs of a stage, and where it can be stopped
    processes   a stage of ``crl_stream.worker`` on the broker in memory, one step at a time
    simulation  the run of one seed: which process is next, and what happens to it
    oracle      what the topics and tables must contain, whatever happens
    mutants     the guards that can be removed
    figures     the figures of seeds, added up and formatted
    program     the commands
"""
