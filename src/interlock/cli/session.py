"""interlock session: start a session for an agent, and see what happened in one."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from interlock.cli.options import DEFAULT_ADDRESS, Address, AsJson, CaFile, CredentialFile
from interlock.cli.output import print_drawing, print_fields, print_json
from interlock.cli.service_client import service_client
from interlock.cli.timeline import draw_timeline
from interlock.client import (
    ApprovalEntry,
    DecisionEntry,
    FailureEntry,
    GoalSetBy,
    MemoryRead,
    MemoryWrite,
    OutcomeEntry,
    PlanningStep,
    Session,
    StateTransition,
    Step,
    TimelineEntry,
)

application = typer.Typer(
    help="Start a session for an agent, and see what happened in one.", no_args_is_help=True
)

SessionId = Annotated[str, typer.Argument(help="Name of the session.")]

_WHO = {GoalSetBy.USER: "set by the user", GoalSetBy.PROPOSAL: "the agent's own words"}


@application.command()
def start(
    session_id: SessionId,
    agent: Annotated[str, typer.Option(help="The agent whose session it is to be.")],
    goal: Annotated[str, typer.Option(help="What you want of the agent in it; it never changes.")],
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Start a session with a user's own credential, before the agent proposes anything in it."""
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        session = interlock.start_session(goal, agent=agent, session_id=session_id)
    if as_json:
        print_json(_as_json(session))
    else:
        print_fields(dict(_header(session)))


@application.command()
def show(
    session_id: SessionId,
    agent: Annotated[
        str, typer.Option(help="The agent whose session it is; an agent's own credential needs none.")
    ] = "",
    address: Address = DEFAULT_ADDRESS,
    credential_file: CredentialFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a session and draw its timeline: steps, decisions and outcomes, repeats and cycles marked."""
    with service_client(address, credential_file=credential_file, ca_file=ca_file) as interlock:
        session = interlock.get_session(session_id, agent=agent)
    if as_json:
        print_json(_as_json(session))
        return
    print_fields(dict(_header(session)))
    print_drawing(draw_timeline(session.timeline))


def _header(session: Session) -> Iterator[tuple[str, str]]:
    yield "session", f"{session.session_id} of agent {session.agent}"
    if session.user:
        yield "user", session.user
    if session.goal:
        yield "goal", f"{session.goal}  ({_WHO.get(session.goal_set_by, 'set by nobody')})"
    ended = ", ended" if session.ended else ""
    yield (
        "time",
        f"{session.start_time:%Y-%m-%d %H:%M:%S} to {session.last_time:%Y-%m-%d %H:%M:%S} UTC{ended}",
    )
    yield "proposals", str(session.steps)
    if session.last_step_number:
        yield "last step", str(session.last_step_number)
    if session.state_digest:
        yield "state", session.state_digest
    yield "spend", _spend(session.facts.get("spend", {}))
    yield "untrusted", _taint(session.facts.get("context", {}))


def _spend(spend: dict[str, Any]) -> str:
    return (
        f"{spend.get('calls', 0)} calls, cost {spend.get('cost', 0)}, "
        f"{spend.get('model_tokens', 0)} model tokens, {spend.get('compute_milliseconds', 0)} ms of tools' time"
    )


def _taint(context: dict[str, Any]) -> str:
    since = context.get("untrusted_since_step", 0)
    if not since:
        return "nothing that is known"
    sources = (f"{source['kind']} {source['reference']}" for source in context.get("untrusted_sources", ()))
    return f"since proposal {since}: {', '.join(sources)}"


_NAMES = {
    DecisionEntry: "decision",
    ApprovalEntry: "approval",
    OutcomeEntry: "outcome",
    FailureEntry: "failure",
}
_KINDS = {
    PlanningStep: "planning",
    MemoryRead: "memory_read",
    MemoryWrite: "memory_write",
    StateTransition: "state_transition",
}


def _as_json(session: Session) -> dict[str, Any]:
    return asdict(session) | {
        "start_time": session.start_time.isoformat(),
        "last_time": session.last_time.isoformat(),
        "timeline": [_entry(each) for each in session.timeline],
    }


def _entry(entry: TimelineEntry) -> dict[str, Any]:
    shown: dict[str, Any] = {"time": entry.time.isoformat(), "number": entry.number}
    match entry.entry:
        case None:
            return shown
        case Step() as step:
            did = {_KINDS[type(step.kind)]: asdict(step.kind)}
            return shown | {"step": did | {"cost": step.cost, "model_tokens": step.model_tokens}}
        case other:
            return shown | {_NAMES[type(other)]: asdict(other)}
