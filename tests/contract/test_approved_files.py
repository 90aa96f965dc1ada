"""What was approved is what runs: a decision service and a gateway that look at real files (cases 47, 51)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from interlock.adapters.file_digests import FileContents
from interlock.adapters.file_paths import resolve_path
from interlock.core import record as records
from interlock.core.approval import Resolution
from interlock.core.canonical import canonicalize
from interlock.core.catalog import CatalogFile, Effect, build_catalog
from interlock.core.decision import Decision, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Call
from interlock.core.named_files import ABSENT, NOT_A_FILE, UNREAD
from interlock.core.normalize import normalize
from interlock.core.outcome import OutcomeKind
from interlock.core.plan import RawPlan, RawStep, normalize_plan
from interlock.core.proposal import Context, RawProposal
from interlock.core.record import RecordType
from interlock.core.token import authenticate
from interlock.flows.decide import decide
from interlock.flows.execute import Executor, Gateway
from interlock.flows.show_approvals import get_approval
from tests.approvals import ALICE, BOB, LIMIT_SECONDS, answer, approving, known
from tests.deciders import a_decider
from tests.fakes import (
    CountingIdentifiers,
    MemoryDecisionLog,
    MemoryLedger,
    OneKeyPair,
    OpenFreezes,
    ScriptedEngine,
    ScriptedTools,
    SettableClock,
)
from tests.proposals import AGENT, GATEWAY
from tests.proposals import TERMS as PROPOSED_TERMS
from tests.tokens import EXPECTED
from tests.tool_calls import a_tool
from tests.unit.flows.approval_world import escalates_until_approved

SCHEMA: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
ROLES = {"/script": "path", "/folder": "path", "/key": "path"}
SECRET_NAME = "hunter2"


class World:
    """A decision service that asks people, and a gateway, on one file system."""

    def __init__(self, root: Path, *, gateway_files: FileContents | None = None) -> None:
        self.root = root
        (root / "folder").mkdir(parents=True)
        (root / "script").write_text("echo good")
        self.catalog = build_catalog(
            [
                CatalogFile(
                    gateway=GATEWAY.name,
                    server="shell",
                    roots={"files": str(root)},
                    tools=(
                        a_tool(
                            name="run",
                            arguments=SCHEMA,
                            effects=(Effect.EXECUTE,),
                            roles=ROLES,
                            sensitive=("/key",),
                        ).entry,
                        a_tool(name="look", arguments=SCHEMA, roles=ROLES).entry,
                    ),
                )
            ]
        )
        self.log, self.keys, self.tools, self.ledger = (
            MemoryDecisionLog(),
            OneKeyPair(),
            ScriptedTools(),
            MemoryLedger(),
        )
        self.decider = a_decider(
            log=self.log,
            state=self.log.state,
            engine=ScriptedEngine(escalates_until_approved),
            signer=self.keys,
            clock=SettableClock(),
            credentials=known(ALICE, BOB),
            catalog=self.catalog,
            terms=TERMS,
            files=FileContents(),
            resolve=resolve_path,
        )
        self.executor = Executor(
            Gateway(
                keys=self.keys,
                expected=EXPECTED,
                catalog=self.catalog,
                ledger=self.ledger,
                tools=self.tools,
                freezes=OpenFreezes(),
                resolve=resolve_path,
                files=gateway_files or FileContents(),
                clock=SettableClock(),
                identifiers=CountingIdentifiers("execution"),
                limit_seconds=30.0,
                delays=lambda failures: 0.0,
                after_outcome=lambda: None,
            )
        )

    async def decide(self, arguments: Mapping[str, str], request_id: str = "r-1") -> Decision:
        """The decision on a run with these arguments."""
        raw = RawProposal(**ASKED, request_id=request_id, tool="run", arguments_json=canonicalize(arguments))
        return await self._decided(normalize(raw, self.catalog, conceal, resolve_path))

    async def decide_plan(self, *steps: tuple[str, str, Mapping[str, str]]) -> Decision:
        """The decision on a plan of these calls, one after the other: step, tool, arguments."""
        names = [name for name, _, _ in steps]
        stated = tuple(
            RawStep(
                step_id=name,
                tool=tool,
                arguments_json=canonicalize(arguments),
                after=tuple(names[place - 1 : place]),
            )
            for place, (name, tool, arguments) in enumerate(steps)
        )
        raw = RawPlan(**ASKED, request_id="r-1", steps=stated)
        return await self._decided(normalize_plan(raw, self.catalog, conceal, resolve_path))

    async def _decided(self, asked: Any) -> Decision:
        [decision] = await decide([asked], self.decider, limit_seconds=LIMIT_SECONDS)
        assert isinstance(decision, Decision), decision
        return decision

    async def approve(self, decision: Decision) -> None:
        """A person approves what waits."""
        await answer(approving(self.decider, self.log.state), decision.approval_id, Resolution.APPROVE)

    async def approved(self, arguments: Mapping[str, str]) -> Call:
        """The call with the token that came of a person's approve."""
        await self.approve(await self.decide(arguments))
        decision = await self.decide(arguments)
        assert decision.verdict is Verdict.ALLOW
        return self.call(decision.execution_token, arguments)

    def call(self, token: str, arguments: Mapping[str, str], tool: str = "run") -> Call:
        return Call(execution_token=token, tool=tool, arguments_json=canonicalize(arguments))

    async def refused(self, call: Call) -> InterlockError:
        """The refusal of a call that reached no tool and left its token unused."""
        with pytest.raises(InterlockError) as caught:
            await self.executor.execute(call)
        assert self.tools.calls == []
        return caught.value

    def escalated(self) -> dict[str, Any]:
        """What the record of the first decision says of its approval."""
        [first, *_] = [each for each in self.log.records if each.type is RecordType.DECISION]
        told: dict[str, Any] = records.fields(first)["approval"]
        return told


TERMS = replace(PROPOSED_TERMS, issuer=EXPECTED.issuer, environment=EXPECTED.environment)
ASKED: dict[str, Any] = {
    "caller": AGENT,
    "session_id": "session-1",
    "parent_decision_id": "",
    "goal": "",
    "context": Context(),
}


def conceal(data: bytes) -> str:
    return f"concealed-{len(data)}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A service and a gateway over one folder."""
    return World(tmp_path / "root")


def swap_content(root: Path) -> None:
    (root / "script").write_text("echo evil")


def swap_file(root: Path) -> None:
    (root / "evil").write_text("echo evil")
    (root / "evil").rename(root / "script")


def remove(root: Path) -> None:
    (root / "script").unlink()


def put_folder(root: Path) -> None:
    (root / "script").unlink()
    (root / "script").mkdir()


def blow_up(root: Path) -> None:
    with (root / "script").open("ab") as file:
        file.truncate(2**40)


SWAPS = pytest.mark.parametrize("swap", [swap_content, swap_file, remove, put_folder, blow_up])


async def test_an_approved_file_runs(world: World) -> None:
    """What people approved and nobody changed is run, under a token that names the approval."""
    call = await world.approved({"script": "script"})
    claims = authenticate(call.execution_token, world.keys)
    assert claims.approval_id is not None
    assert claims.files is not None
    assert (await world.executor.execute(call)).kind is OutcomeKind.SUCCEEDED


@SWAPS
async def test_a_file_that_changes_between_token_and_run_is_refused(
    world: World, swap: Callable[[Path], None]
) -> None:
    """Whatever stands at the path instead: the call is refused, nothing ran, and the token is not used (case 51)."""
    call = await world.approved({"script": "script"})
    swap(world.root)
    assert (await world.refused(call)).reason is ErrorReason.FILE_CHANGED
    [outcome] = await world.ledger.undelivered(10)
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, ErrorReason.FILE_CHANGED)


async def test_a_file_that_changes_while_its_call_is_prepared_is_refused(world: World) -> None:
    """The look is the last before the token is redeemed: preparing a call takes no approval past it (case 51)."""
    call = await world.approved({"script": "script"})
    world.tools.while_preparing = lambda: swap_content(world.root)
    assert (await world.refused(call)).reason is ErrorReason.FILE_CHANGED


async def test_the_token_of_a_file_that_was_put_back_runs(world: World) -> None:
    """A refusal used nothing up: with the approved content back in place, the same token runs once."""
    call = await world.approved({"script": "script"})
    swap_content(world.root)
    await world.refused(call)
    (world.root / "script").write_text("echo good")
    assert (await world.executor.execute(call)).kind is OutcomeKind.SUCCEEDED


@SWAPS
async def test_a_file_that_changes_after_its_approval_needs_a_new_one(
    world: World, swap: Callable[[Path], None]
) -> None:
    """The service looks again too: no token, the approval is superseded, and people are asked anew (case 51)."""
    arguments = {"script": "script"}
    first = await world.decide(arguments)
    await world.approve(first)
    swap(world.root)
    again = await world.decide(arguments)
    assert (again.verdict, again.execution_token) == (Verdict.ESCALATE, "")
    assert again.approval_id != first.approval_id
    changes = [records.fields(each) for each in world.log.records if each.type is RecordType.APPROVAL]
    assert [(each["change"], each.get("changed")) for each in changes] == [
        ("approve", None),
        ("supersede", "files"),
    ]


async def test_a_file_that_changes_before_the_answer_is_not_approved(world: World) -> None:
    """An approve of what is no longer there is refused, and the agent must ask again (case 51)."""
    first = await world.decide({"script": "script"})
    swap_content(world.root)
    with pytest.raises(InterlockError) as caught:
        await world.approve(first)
    assert caught.value.reason is ErrorReason.APPROVAL_CLOSED


async def test_a_file_that_appears_is_another_one(world: World) -> None:
    """A path at which nothing was is bound to that: what is put there after the approval does not run (case 51)."""
    call = await world.approved({"script": "new"})
    (world.root / "new").write_text("echo evil")
    assert (await world.refused(call)).reason is ErrorReason.FILE_CHANGED


async def test_a_gateway_that_cannot_see_the_files_refuses(tmp_path: Path) -> None:
    """Where the gateway finds nothing out about a file that was approved, the call is refused (case 51)."""
    world = World(tmp_path / "root", gateway_files=FileContents(limit_seconds=0.0))
    call = await world.approved({"script": "script"})
    assert (await world.refused(call)).reason is ErrorReason.FILE_CHANGED


async def test_people_see_what_their_approval_is_bound_to(world: World) -> None:
    """The record tells of each path what was found there, also that a file was not read, so that nobody is deceived."""
    blow_up(world.root)
    (world.root / "small").write_text("x")
    await world.decide({"script": "script", "folder": "folder", "key": "small"})
    told = world.escalated()["files"]
    assert told == {str(world.root / "folder"): NOT_A_FILE, str(world.root / "script"): UNREAD}
    await world.decide({"script": "new"}, "r-2")
    shown = await get_approval(
        (await world.decide({"script": "new"}, "r-2")).approval_id,
        ALICE,
        approving(world.decider, world.log.state),
        limit_seconds=LIMIT_SECONDS,
    )
    assert shown.calls[0].files == {str(world.root / "new"): ABSENT}


async def test_an_edited_call_is_bound_to_the_files_that_it_names(world: World) -> None:
    """Who puts another file in the place of the proposed one approves what is in that one, as the record tells."""
    (world.root / "other").write_text("echo other")
    proposed, edited = {"script": "script"}, {"script": "other"}
    first = await world.decide(proposed)
    parts = approving(world.decider, world.log.state)
    await answer(parts, first.approval_id, Resolution.APPROVE, edited_arguments_json=canonicalize(edited))
    [told] = [records.fields(each)["edit"] for each in world.log.records if each.type is RecordType.APPROVAL]
    assert told["files"] == {str(world.root / "other"): sha256(b"echo other").hexdigest()}
    decision = await world.decide(proposed)
    assert decision.edited_arguments_json == canonicalize(edited)
    (world.root / "other").write_text("echo evil")
    call = world.call(decision.execution_token, edited)
    assert (await world.refused(call)).reason is ErrorReason.FILE_CHANGED


async def test_a_sensitive_path_is_bound_and_not_told(world: World) -> None:
    """A file that a sensitive argument names is looked at, and its name is in no record and no error (case 63)."""
    (world.root / SECRET_NAME).write_text("key")
    call = await world.approved({"script": "script", "key": SECRET_NAME})
    (world.root / SECRET_NAME).write_text("another")
    error = await world.refused(call)
    assert error.reason is ErrorReason.FILE_CHANGED
    assert SECRET_NAME not in repr(error)
    assert not [each for each in world.log.records if SECRET_NAME.encode() in each.content]


async def test_a_step_is_bound_to_the_files_that_it_names(world: World) -> None:
    """Of an approved plan each step's token has its own files; one that was changed is refused (cases 51, 59)."""
    (world.root / "other").write_text("other")
    steps = (("one", "look", {"script": "script"}), ("two", "run", {"script": "other"}))
    await world.approve(await world.decide_plan(*steps))
    one, two = (await world.decide_plan(*steps)).steps
    (world.root / "other").write_text("echo evil")
    await world.executor.execute(world.call(one.execution_token, {"script": "script"}, "look"))
    with pytest.raises(InterlockError) as caught:
        await world.executor.execute(world.call(two.execution_token, {"script": "other"}))
    assert caught.value.reason is ErrorReason.FILE_CHANGED


async def test_a_step_is_not_bound_to_what_a_step_before_it_makes(world: World) -> None:
    """A file that an earlier step may write is what the plan makes of it by then, and its later step still runs."""
    steps = (("write", "run", {"script": "script"}), ("read", "look", {"script": "script"}))
    await world.approve(await world.decide_plan(*steps))
    write, read = (await world.decide_plan(*steps)).steps
    assert authenticate(write.execution_token, world.keys).files is not None
    assert authenticate(read.execution_token, world.keys).files is None
    await world.executor.execute(world.call(write.execution_token, {"script": "script"}))
    swap_content(world.root)
    result = await world.executor.execute(world.call(read.execution_token, {"script": "script"}, "look"))
    assert result.kind is OutcomeKind.SUCCEEDED
