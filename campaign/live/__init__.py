"""The live campaign: injects faults into real workers on a real broker, under load; ``python -m campaign live``.

    faults/    one file for each type of fault; the folder is the list
    fault      what such a file defines, and the result of inducing the fault once
    world      what a round breaks: topics, workers, load, progress, offsets
    fleet      the processes of a round: starts them, counts them, reads their logs
    workers    a worker process: stop, kill, pause
    brokers    the broker: start, stop, kill, pause, on the same data and port
    listeners  the routes to it: direct, one per worker, one that authenticates clients
    proxy      a route that can be silent, one-sided, slow, reset or closed
    administration  what an administrator can do to topics, groups and rights
    supervision     restarts workers that end, as a service manager would
    refusal    a worker that must refuse to work, and the fix that its hint names
    own_task   a task that receives outcomes from one fault only
    trouble    what workers log about a bad broker
    load       sends continuously, and records what Kafka accepted
    traffic    what is sent: outcomes (some repeated), misplaced and malformed records, scores, commands, policies
    progress   how far the log is folded, as the changelog says
    offsets    checks that committed offsets never go back, and that at the end everything is committed
    rounds     plays a round from start to verdict
    oracle/    a separate process that folds and counts what is on the topics
    journal    the results file, one line per round
    report     the table
    points     named lines at which a worker can be made to die or pause
    guards     the guards that can be removed from a worker
    launcher   starts a worker with such a point or without a guard
    scenarios  situations that go wrong without a guard
    mutants    which scenario reveals which missing guard
    soak       a long run that shows whether anything grows

Add a fault
===========

One file in ``faults/``, named after its number (``f04_broker_bounce.py``).  It defines

    ID, TITLE           "F4", one sentence
    TIMES, PER_ROUND    how often to induce it in the whole campaign, and in one round
    async def induce(world, rng) -> Engagement

and, if it needs them,

    OWN_BROKER = True               its rounds get their own broker
    PLAN = {"workers": 1}           fields of ``world.Plan`` that are not left to the seed
    EXAMINES = False                there is nothing for the oracle to fold afterwards
    async def prepare(world, rng)   starts workers, services and load instead of ``world.start()``

``induce`` breaks something once, waits until the group works again (``world.progress.beyond``, ``world.ready``), and
reports whether the system **itself** noticed the fault: ``world.skipped(mark)``, ``world.said(mark, pattern)``,
``world.counters()``, exit codes, restarts.  A fault that the system did not notice is inconclusive.  ``induce`` waits
for events, never for a fixed time.  A ``TimeoutError`` means that the group is stuck, and fails the round.  All
randomness comes from ``rng``.  ``induce`` leaves ``world`` as it found it, with the same number of workers and the
broker running.

A fault that deletes records of the log calls ``oracle.reading.keep_records`` first, and sets ``world.archive`` to what
it has kept and ``world.gaps`` to what was never folded.  A fault that sets committed offsets back calls
``world.offsets.forget()``.  To send an extra record, call ``world.load.send(Draft(...))``; the draft's ``what``
tells the oracle what must happen to the record (``traffic.RUBBISH``: one dead letter with its bytes).  Workers connect
to Kafka at ``world.bootstrap_servers`` when they start.  To use a proxy, put its address there; the broker must
advertise it.
"""
