"""The engine of one task: it processes an outcome or a command, decides what follows, and publishes the result.

Read the modules in the order in which an outcome passes through them:

    step               the processing of one message, from beginning to end
    fall               when a fall began, what was delivered in it, and whether other variants fell as well
    tags               which provider and model a variant shares with others
    turn               the message being processed, with its row, its position in the log and its policy
    rules              a policy prepared for the hot path
    row                everything that is kept about a task, in one record
    record             records an outcome
    dedupe             which ids a task has seen before
    learning           the reward of an outcome
    judges             the scores of different judges on one scale
    evidence           how strongly outcomes suggest that a variant has become worse
    baseline           what a window is compared with
    likelihood         the arithmetic behind the evidence
    window             the last outcomes of a variant, their sums, and Q
    staging            what the candidate of a rollout and the active variant deliver over the same time
    benefit            whether the latest change helped
    past               the last changes of each kind, and what became of them
    pace               how many outcomes a task gets in an hour
    adoption           how the runtimes have followed the latest change
    runtimes           which runtimes follow which epoch
    sources            which runtime each outcome came from, and what each runtime reported last
    verification       whether the latest rollback stays, or is taken back
    scorecard          whether a rollback that shadow mode only reported was right
    common_cause       whether variants fell together because of a provider or model that they share
    protection         what follows from a verdict: alert, rollback or recovery
    guardrails         what follows if cost, duration or a named metric becomes worse
    guardrail          what a guardrail metric is
    gauges             the level of a guardrail metric, and the evidence that it rose
    verdict            HEALTHY, DEGRADED or INCONCLUSIVE
    detector           what a detector's file defines
    detectors/         one file for each metric
    why_not/           why nothing happens: every condition of the next step
    grounds            the reason for a verdict, with figures and outcomes
    witnesses          whether a change rests on one runtime alone, and others contradict it
    promise            what a variant can be expected to deliver, and whether one variant promises more than another
    targets            which variant a rollback chooses
    changes            what can happen to a task, as values
    lifecycle          the only module that applies changes, and the table of all transitions
    facts              what is published about each change
    decision_matrix    the guide's decision matrix, and which variant is promoted
    rollout            how a candidate replaces the active variant in stages
    publishing         which snapshots are published after a message
    snapshot           what is true about a task now

Everything other than outcomes:

    feedback           scores that arrive late
    commands           what operators send
    refusal            why a command is not applied
    rollout_orders     what operators send about rollouts
    registration       what an operator registers about a variant
    filing             proposals that come from outside, until a person decides
    standing_orders    pins and holds, and when they end
    variants           which variants a task knows
    restatement        records of the compacted topics, published again from a row
"""
