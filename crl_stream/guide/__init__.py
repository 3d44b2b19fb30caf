"""The Python API of the CRL Safety Mechanisms Guide, word for word, on top of this package's engine.

    from crl_stream.guide.rollback_manager import RollbackManager
    from crl_stream.guide.store import Store

    store = Store.default()
    store.record({"agent_name": "backend-architect", "task_type": "api-design",
                  "variant_id": "api-optimized", "status": "success"})
    RollbackManager().monitor_and_rollback("backend-architect", "api-design", "api-optimized")

Objects built without arguments share ``Store.default()``. It reads the live topics if Kafka is configured (see
``Store.default``); otherwise it keeps its data in this process. The engine in ``core/`` makes all decisions; this
folder only calls it.

The guide's objects:

    q_learning        Q-values and visit counts
    safety_monitor    whether a variant may be applied, and whether it is degraded
    rollback_manager  rolls back a degraded variant and reports each rollback once
    variant_proposer  suggests changes and accepts reviews
    thresholds        the guide's threshold names, mapped to fields of the policy

The data behind them, in reading order:

    store             records outcomes and provides figures to the guide's objects
    source            the interface that ``memory`` and ``live`` implement
    memory            the source in this process: outcomes are folded here
    live              the source over the topics of a running installation
    following         reads the topics of the installation in the background
    restoration       turns a task's snapshot back into a row
    looking           judges a variant between two outcomes, and over longer windows
    shapes            rollbacks and proposals as the guide's dictionaries

What is kept for the next process:

    records           rollbacks and proposals, in the telemetry files
    figures           rows and unreported rollbacks, in one SQLite file
    told              which rollbacks of an installation have been reported
"""
