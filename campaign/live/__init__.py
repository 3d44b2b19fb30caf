"""The live campaign: real workers on a real broker, broken under load; ``python -m campaign live``.

    faults/    one file for each type of fault; the folder is the list
    fault      what such a file says, and what comes of inducing it once
    world      what a round breaks: topics, workers, load, progress, offsets
    fleet      its processes: started, counted, and what their logs say
    workers    a worker process: stop, kill, stand still
    brokers    the broker: start, stop, kill, stand still, on the same data and port
    listeners  the ways to it: direct, one per worker, one that asks who is there
    proxy      a way that can be silent, one-sided, slow, reset or closed
    administration  what an administrator can do to topics, groups and rights
    supervision     starts again what ends, as a service manager would
    refusal    a worker that must refuse, and the cure that its hint names
    own_task   a task that one fault alone sends outcomes to
    trouble    what workers say of a bad broker
    load       sends without end, and writes down what Kafka took
    traffic    what is sent: outcomes, repetitions, misplaced records, scores, orders, policies, rubbish
    progress   how far the log is folded, as the changelog says
    offsets    committed offsets: they never go back, and at the end all is committed
    rounds     a round from start to verdict
    oracle/    a process of its own that folds and counts what lies on the topics
    journal    the results file, one line a round
    report     the table
    points     named lines at which a worker can be made to die or to stand still
    guards     what can be taken away from a worker
    launcher   starts a worker that is spoilt so
    scenarios  in which a guard is missed
    mutants    which scenario misses which guard

Add a fault
===========

One file in ``faults/``, named after its number (``f04_broker_bounce.py``).  It defines

    ID, TITLE           "F4", one sentence
    TIMES, PER_ROUND    how often in the whole campaign, and on one installation
    async def induce(world, rng) -> Engagement

and, where it needs them,

    OWN_BROKER = True               its rounds get a broker of their own
    PLAN = {"workers": 1}           fields of ``world.Plan`` that the seed must not choose
    EXAMINES = False                nothing to fold afterwards (a worker that must refuse to start)
    async def prepare(world, rng)   instead of ``world.start()``: workers, services and load

``induce`` breaks something once, waits until the group has gone on (``world.progress.beyond``, ``world.ready``), and
says whether the system noticed **by its own numbers**: ``world.skipped(mark)``, ``world.said(mark, pattern)``,
``world.counters()``, exit codes, restarts.  A fault that nobody noticed is inconclusive.  It waits for events and never
for a while; a ``TimeoutError`` means that the group is stuck, and fails the round.  All chance comes from ``rng``.
It leaves ``world`` as it found it: as many workers, the broker running.

A fault that deletes records of the log calls ``oracle.reading.keep_records`` first, and says in ``world.archive`` and
``world.gaps`` what it has kept and what was never folded.  One that sets committed offsets back calls
``world.offsets.forget()``.  A record that the load does not know is sent with ``world.load.send(Draft(...))``; ``what``
tells the oracle what must become of it (``traffic.RUBBISH``: one dead letter with its bytes).  Worker processes find
Kafka at ``world.bootstrap_servers`` when they are started: put a proxy's address there (the broker must advertise it).
"""
