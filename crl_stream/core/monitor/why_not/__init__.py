"""Why the engine does nothing: every automatic step, and each of its conditions with figures, in the engine's order.

The questions are asked of a private copy of a row, as if its task were judged now.  The conditions use the functions
with which the engine decides; ``acts`` is what the engine itself would do.  Tests fold one more outcome and compare.

asked           asks all questions about a task, or about one variant
answers         the questions that say why a change does not happen, for each change that something automatic may cause
conditions      what a question and a condition are, and the conditions that several questions share
endings         what ends or begins without a verdict: pins, holds, incidents, the first activation, forgotten variants
verifications   whether the latest rollback is taken back, or kept
verdicts        what follows from a verdict: an alert, a rollback, a recovery, the end of a rollout
costs           what follows from guardrail metrics
rollouts        whether the next stage of a rollout begins
promotions      whether a candidate is promoted
"""
