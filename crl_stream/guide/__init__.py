"""The Python API of the CRL Safety Mechanisms Guide, word for word, over the engine of this package.

    from crl_stream.guide.rollback_manager import RollbackManager
    from crl_stream.guide.store import Store

    store = Store.default()
    store.record({"agent_name": "backend-architect", "task_type": "api-design",
                  "variant_id": "api-optimized", "status": "success"})
    RollbackManager().monitor_and_rollback("backend-architect", "api-design", "api-optimized")

Objects built without arguments share ``Store.default()``: the live topics if ``CRL_BOOTSTRAP_SERVERS`` or the file
named by ``CRL_CONFIG`` gives Kafka's address, else a store in this process. No file of the current folder is read. The
engine in ``core/`` makes all decisions; this folder only asks it.
"""
