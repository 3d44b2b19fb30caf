"""The command ``crl``.  Data goes to stdout, everything else to stderr; every error has a hint.

Read in this order:

    application      the options that all commands share; turns every error into two lines and an exit code
    command_table    every command and the module that it is in, imported when needed
    help_groups      the headings of ``crl --help``
    session          the settings of one call, and the Kafka they name
    talk             all output; streams: stdout and stderr, whether open, closed or hung up; layout: tables
    completing       names for shell completion

Commands that run processes:

    up               everything in the foreground; down: stops it; unsupervised: finds processes that outlived it
    processes        the processes of an installation; run_record: the record of them on disk
    supervision      restarts a process that ends or falls silent; pulse: checks whether it responds
    worker           one worker
    broker           the embedded Kafka
    demo/            the whole loop, narrated

Commands that show the state:

    status           what is wrong, and the tasks; status_text: its lines; told_tasks: the tasks if no worker answers
    window           one task in full
    adoption         how runtimes followed changes of the active variant
    scorecards       how many of the rollbacks that shadow mode reported were right
    dashboard        the guide's safety dashboard
    runtimes         which runtimes use the active variant
    rollbacks/       what was rolled back, and what became of it
    audit            who did what, when and why
    explain          why something happened, and what followed; explain_text: its page
    why_not          why nothing happened: every condition; why_not_text: its page
    tail             follows topics
    topology         what each stage reads, keeps and writes
    drill/           tests the protection on a reserved task

Commands that change the state:

    orders           the commands about one task; fleet: the same for the whole fleet; tasks: refuses mistyped names
    consequences     what an answer adds: what the command touches, and how it is undone
    quarantine       variants in quarantine
    rollout          rollouts in stages
    proposals/       proposed changes and their reviews
    propose          files a candidate as a proposal
    policy           the policy in force
    topics           creates and corrects topics
    dead_letters/    records that could not be used

Commands about files and settings:

    publish          sends one outcome or a file; file_publisher: sends the file; publish_journal: records its progress
    outcome_file     reads a file of outcomes; file_kinds: recognises other kinds of file; repeats: counts repeated ids
    replay           runs the engine over a file; replay_clock: the clock of a replay; replay_order: its messages
    trial            compares two policies on a log; trial_input: what it reads; trial_text: its report as text
    chosen_policy    the words that name a policy
    sync/            keeps a file with the active variants, for runtimes without Kafka
    calibrate/       measures policies with a task's own history
    export           writes outcomes, events and proposals to a file, and goes on after an interruption
    archive          compresses old telemetry
    config           the settings
    notify           the alert channels

Used by several commands:

    clock            the current time
    silence          reports that Kafka does not answer
    whole_file       replaces a file, so that readers always find a whole one
"""

from crl_stream.cli.application import main

__all__ = ["main"]
