"""Explains what happened, and why nothing happened, from the topics alone: one engine for CLI, page and JSON.

An explanation is a document: every figure in it comes from a message on a topic, so anyone can check it there.

documents   what an explanation consists of
ids         what an id is the id of, and on which topics to look for it
story       everything that the topics say about one task
explain     the explanation of one id, made of its message and the story of its task
proof       what a verdict rests on: figures and limits, outcomes, baseline, evidence, candidates
fates       what became of a rollback: confirmed, undone, taken back, followed by another change; right or wrong
history     what led to a fact, and what has happened since
reading     reads all of this from Kafka
why_not     why nothing happens to a task: every condition of the engine's next step, from the task's row
adoption    how runtimes followed a change, in words
"""
