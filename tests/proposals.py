"""Example proposals to the git tools of one catalog, and example answers of a policy to them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import JsonValue

from interlock.core.canonical import canonicalize
from interlock.core.catalog import CatalogFile, Effect, ToolEntry, build_catalog
from interlock.core.conclusion import Terms
from interlock.core.decision import Evaluated, PolicyAnswer
from interlock.core.errors import InterlockError
from interlock.core.identity import Caller, CallerKind
from interlock.core.normalize import normalize
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Context, Proposal, RawProposal
from interlock.core.session import Measuring
from tests.fakes import no_files

AGENT = Caller(
    kind=CallerKind.AGENT,
    tenant="acme",
    name="agent-1",
    roles=("contributor",),
    credential_id="0123456789abcdef",
)
AUDITOR = replace(AGENT, kind=CallerKind.AUDITOR, name="auditor-1", roles=())
GATEWAY = replace(AGENT, kind=CallerKind.GATEWAY, name="gateway-1", roles=())

TERMS = Terms(
    issuer="https://interlock.example",
    environment="test",
    token_life=timedelta(seconds=30),
    labels={"service": "interlock", "version": "0"},
)
MEASURING = Measuring(idle=timedelta(hours=1), retention=timedelta(days=7), terms_key=bytes(16))
REVISION = "revision-1"

_STRING: dict[str, JsonValue] = {"type": "string"}
CATALOG = build_catalog(
    [
        CatalogFile(
            gateway=GATEWAY.name,
            server="git",
            tools=(
                ToolEntry(
                    name="git_log",
                    arguments={
                        "type": "object",
                        "properties": {"repo_path": _STRING, "max_count": {"type": "integer"}},
                        "required": ["repo_path"],
                        "additionalProperties": False,
                    },
                    effects=(Effect.READ,),
                ),
                ToolEntry(
                    name="git_commit",
                    arguments={
                        "type": "object",
                        "properties": {"repo_path": _STRING, "message": _STRING | {"maxLength": 100}},
                        "required": ["repo_path", "message"],
                        "additionalProperties": False,
                    },
                    effects=(Effect.WRITE,),
                    sensitive=("/message",),
                ),
            ),
        )
    ]
)


NO_CONTEXT = Context()


def a_proposal(
    request_id: str = "request-1",
    tool: str = "git_log",
    arguments: dict[str, Any] | None = None,
    *,
    caller: Caller = AGENT,
    session_id: str = "session-1",
    goal: str = "read the history",
    parent_decision_id: str = "",
    operation: str = "",
    context: Context = NO_CONTEXT,
) -> Proposal:
    """A proposal as the ingress makes it."""
    raw = RawProposal(
        caller=caller,
        request_id=request_id,
        session_id=session_id,
        parent_decision_id=parent_decision_id,
        goal=goal,
        tool=tool,
        arguments_json=canonicalize({"repo_path": "."} if arguments is None else arguments),
        context=context,
        operation=operation,
    )
    return normalize(raw, CATALOG, conceal=lambda value: f"concealed {len(value)} bytes", resolve=no_files)


def an_answer(
    verdict: str,
    *,
    obligations: Sequence[dict[str, Any]] = (),
    reservations: Sequence[dict[str, Any]] = (),
    revision: str = REVISION,
) -> Evaluated:
    """What a policy of this verdict answers."""
    answer = PolicyAnswer.model_validate(
        {
            "verdict": verdict,
            "reasons": [{"code": f"example.{verdict}", "message": "an example", "metadata": {"limit": 3}}],
            "obligations": list(obligations),
            "reservations": list(reservations),
        }
    )
    return Evaluated(answer=answer, revision=revision)


def always(answer: Evaluated | InterlockError) -> Callable[[PolicyInput], Evaluated | InterlockError]:
    """A policy of one answer."""
    return lambda document: answer


def by_effect(document: PolicyInput) -> Evaluated | InterlockError:
    """A policy that lets read, asks a person about writing, and denies the rest."""
    match document["tool"]["effects"]:
        case ["read"]:
            return an_answer("allow", obligations=[{"type": "timeout", "seconds": 30}])
        case ["write"]:
            return an_answer("escalate")
        case _:
            return an_answer("deny")
