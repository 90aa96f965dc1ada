"""The Python SDK: propose a call, have it decided, and have an allowed one executed.

    with Interlock(credential=credential, gateway="127.0.0.1:7420") as interlock:
        run = interlock.run("git_log", {"repo_path": "/srv/repository"}, goal="see what changed")
        print(run.decision.verdict, run.execution and run.execution.result)

`AsyncInterlock` is the same with `async with` and `await`. A deny and an escalate are values;
InterlockCallError means that no answer came, and says what to do next.
"""

from interlock.client.approval_values import (
    Approval,
    ApprovalAnswer,
    ApprovalCall,
    ApprovalState,
    ApprovedBefore,
    Preview,
    Resolution,
    Resolved,
    ShownApproval,
    StandingApproval,
    StandingTerms,
)
from interlock.client.async_client import AsyncInterlock
from interlock.client.errors import InterlockCallError, Violation
from interlock.client.freeze_values import Freeze, FreezeScope
from interlock.client.http_arguments import http_arguments
from interlock.client.plan_values import PlanStep, Reference, filled
from interlock.client.session_values import (
    ApprovalEntry,
    DecisionEntry,
    FailureEntry,
    GoalSetBy,
    MemoryWrite,
    OutcomeEntry,
    PlanningStep,
    Session,
    StateTransition,
    Step,
    StepsRecorded,
    TimelineEntry,
)
from interlock.client.sync_client import Interlock
from interlock.client.values import (
    Decision,
    Execution,
    MemoryRead,
    Obligation,
    ObligationResult,
    Outcome,
    ProposalFields,
    Reason,
    Record,
    RecordType,
    Run,
    Source,
    SourceTrust,
    StepDecision,
    ToolCall,
    Verdict,
)

__all__ = [
    "Approval",
    "ApprovalAnswer",
    "ApprovalCall",
    "ApprovalEntry",
    "ApprovalState",
    "ApprovedBefore",
    "AsyncInterlock",
    "Decision",
    "DecisionEntry",
    "Execution",
    "FailureEntry",
    "Freeze",
    "FreezeScope",
    "GoalSetBy",
    "Interlock",
    "InterlockCallError",
    "MemoryRead",
    "MemoryWrite",
    "Obligation",
    "ObligationResult",
    "Outcome",
    "OutcomeEntry",
    "PlanStep",
    "PlanningStep",
    "Preview",
    "ProposalFields",
    "Reason",
    "Record",
    "RecordType",
    "Reference",
    "Resolution",
    "Resolved",
    "Run",
    "Session",
    "ShownApproval",
    "Source",
    "SourceTrust",
    "StandingApproval",
    "StandingTerms",
    "StateTransition",
    "Step",
    "StepDecision",
    "StepsRecorded",
    "TimelineEntry",
    "ToolCall",
    "Verdict",
    "Violation",
    "filled",
    "http_arguments",
]
