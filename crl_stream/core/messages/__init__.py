"""Every message of the product, defined once.

``inputs`` enter the log, ``commands`` come from operators, ``facts`` say what happened, ``snapshots`` say what is true
now, ``overview`` describes the whole system, and ``mirrors`` the labels of prompt stores.  JSON Schemas are generated
from these classes; readers ignore fields they do not know.

A message of this package is imported when it is first used, so that a client imports only those that it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from crl_stream.core.messages.commands import (
        AbortRollout,
        AcceptLevel,
        ActivateVariant,
        AnyCommand,
        AnyTaskCommand,
        ApproveProposal,
        Command,
        ConfirmRollback,
        DeferProposal,
        FleetCommand,
        HoldAll,
        HoldTask,
        LiftQuarantine,
        PauseRollout,
        PinVariant,
        PromoteRollout,
        ProposeVariant,
        RegisterVariant,
        RejectProposal,
        ReportTag,
        ResumeAll,
        ResumeRollout,
        ResumeTask,
        RetireVariant,
        RolloutCommand,
        SetPolicy,
        StartRollout,
        TaskCommand,
        UndoRollback,
        UnpinVariant,
    )
    from crl_stream.core.messages.facts import (
        Activation,
        Adoption,
        Alert,
        CommandResult,
        Decision,
        DegradationAlert,
        Fact,
        Hindsight,
        Receipt,
        RollbackEvent,
        RolloutStep,
        TagCondition,
        TagLimits,
    )
    from crl_stream.core.messages.inputs import CommandRef, Feedback, Invocation, Tick
    from crl_stream.core.messages.mirrors import MirrorLabel, MirrorStore
    from crl_stream.core.messages.overview import (
        AlertNote,
        Overview,
        ProposalNote,
        RollbackNote,
        Standing,
        TaskNote,
        TaskStanding,
    )
    from crl_stream.core.messages.parts import (
        SCHEMA_VERSION,
        Candidate,
        CandidateEvidence,
        Change,
        Delivered,
        Evidence,
        Judged,
        Modification,
        Position,
    )
    from crl_stream.core.messages.snapshots import (
        ActiveRollout,
        ActiveVariant,
        AdoptionSnapshot,
        BaselineSnapshot,
        CommonCause,
        FailureKinds,
        FiledProposal,
        Filing,
        GuardrailLevel,
        JudgeScale,
        OneRuntime,
        Order,
        Proposal,
        ProposalLimits,
        RegisteredVariant,
        ReviewResult,
        Revision,
        RollbackScorecard,
        RolloutSnapshot,
        RuntimeBehind,
        TaskSnapshot,
        VariantCatalogue,
        VariantConfiguration,
        VariantSnapshot,
        Verification,
        WindowSnapshot,
    )

__all__ = [
    "SCHEMA_VERSION",
    "AbortRollout",
    "AcceptLevel",
    "ActivateVariant",
    "Activation",
    "ActiveRollout",
    "ActiveVariant",
    "Adoption",
    "AdoptionSnapshot",
    "Alert",
    "AlertNote",
    "AnyCommand",
    "AnyTaskCommand",
    "ApproveProposal",
    "BaselineSnapshot",
    "Candidate",
    "CandidateEvidence",
    "Change",
    "Command",
    "CommandRef",
    "CommandResult",
    "CommonCause",
    "ConfirmRollback",
    "Decision",
    "DeferProposal",
    "DegradationAlert",
    "Delivered",
    "Evidence",
    "Fact",
    "FailureKinds",
    "Feedback",
    "FiledProposal",
    "Filing",
    "FleetCommand",
    "GuardrailLevel",
    "Hindsight",
    "HoldAll",
    "HoldTask",
    "Invocation",
    "JudgeScale",
    "Judged",
    "LiftQuarantine",
    "MirrorLabel",
    "MirrorStore",
    "Modification",
    "OneRuntime",
    "Order",
    "Overview",
    "PauseRollout",
    "PinVariant",
    "Position",
    "PromoteRollout",
    "Proposal",
    "ProposalLimits",
    "ProposalNote",
    "ProposeVariant",
    "Receipt",
    "RegisterVariant",
    "RegisteredVariant",
    "RejectProposal",
    "ReportTag",
    "ResumeAll",
    "ResumeRollout",
    "ResumeTask",
    "RetireVariant",
    "ReviewResult",
    "Revision",
    "RollbackEvent",
    "RollbackNote",
    "RollbackScorecard",
    "RolloutCommand",
    "RolloutSnapshot",
    "RolloutStep",
    "RuntimeBehind",
    "SetPolicy",
    "Standing",
    "StartRollout",
    "TagCondition",
    "TagLimits",
    "TaskCommand",
    "TaskNote",
    "TaskSnapshot",
    "TaskStanding",
    "Tick",
    "UndoRollback",
    "UnpinVariant",
    "VariantCatalogue",
    "VariantConfiguration",
    "VariantSnapshot",
    "Verification",
    "WindowSnapshot",
]

_MODULES: Final = ("parts", "inputs", "snapshots", "facts", "commands", "overview", "mirrors")
"""The modules that define messages; those that a client needs come first."""

if not TYPE_CHECKING:  # a type checker would otherwise accept any name

    def __getattr__(name: str) -> Any:
        if name in __all__:
            for module in _MODULES:
                if hasattr(found := import_module(f"{__name__}.{module}"), name):
                    globals()[name] = getattr(found, name)
                    return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
