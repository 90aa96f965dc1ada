"""The synchronous client."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Self, TypeVar, Unpack

import grpc
from google.protobuf.message import Message
from grpc_health.v1.health_pb2_grpc import HealthStub

from interlock.client import freeze_messages, messages, session_messages
from interlock.client.base_client import NO_METADATA, WHOLE_SERVER, BaseClient
from interlock.client.connection import Target
from interlock.client.errors import InterlockCallError, from_rpc, method_of
from interlock.client.freeze_values import Freeze, FreezeScope
from interlock.client.plan_values import PlanStep
from interlock.client.retry import Attempts
from interlock.client.session_values import Session, Step, StepsRecorded
from interlock.client.sync_approvals import Approvals
from interlock.client.values import (
    Decision,
    Execution,
    ProposalFields,
    Record,
    RecordType,
    Run,
    StepDecision,
    ToolCall,
)
from interlock.client.waiting import Wait, is_pending
from interlock.v1.approval_service_pb2_grpc import ApprovalServiceStub
from interlock.v1.audit_service_pb2 import GetRecordRequest
from interlock.v1.audit_service_pb2_grpc import AuditServiceStub
from interlock.v1.control_service_pb2 import ListFreezesRequest
from interlock.v1.control_service_pb2_grpc import ControlServiceStub
from interlock.v1.decision_service_pb2 import (
    ListToolsRequest,
    RecordStepsRequest,
    RecordStepsResponse,
    StartSessionRequest,
    WithdrawDecisionRequest,
)
from interlock.v1.decision_service_pb2_grpc import DecisionServiceStub
from interlock.v1.gateway_service_pb2_grpc import GatewayServiceStub

Asked = TypeVar("Asked", bound=Message)
Answered = TypeVar("Answered", bound=Message)
Value = TypeVar("Value")


class Interlock(BaseClient[grpc.Channel]):
    """The synchronous client of Interlock, safe to share between threads.

    `address` is the decision service's, `gateway` the gateway's, each `host:port`. `credential` is None for a
    client that only executes. `ca_file` holds, in PEM, the certificates to trust over TLS; without it nothing
    is encrypted, and only loopback addresses are allowed. `session_id` (1 to 64 characters of [a-z0-9-]) is a
    new UUID unless given. `timeout` is in seconds, for every call that is not given its own. Raises
    ValueError, and OSError for the `ca_file`.

    Every call raises InterlockCallError where no answer came; what cannot be sent raises TypeError or
    ValueError before. Where a call is made again it is on UNAVAILABLE only, and within its timeout.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections, and with them the calls that still run."""
        for channel in self._channels.values():
            channel.close()

    def wait_ready(self, timeout: float | None = None) -> None:
        """Return when the decision service, and the gateway if one was given, can do their work.

        Raises InterlockCallError where they cannot within `timeout` seconds.
        """
        attempts = self._attempts_until_ready(timeout)
        for to in self._targets():
            read = partial(messages.read_health, address=to.address)
            self._ask(HealthStub(self._channel(to)).Check, WHOLE_SERVER, read, attempts, NO_METADATA)

    def decide(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        **fields: Unpack[ProposalFields],
    ) -> Decision:
        """Propose one call of `tool` with `arguments`, a JSON object. A deny and an escalate are decisions too.

        The same `request_id` (1 to 64 characters of [a-z0-9-], a new UUID unless given) with the same
        proposal gives the same decision. `fields` are those of ProposalFields: `goal`,
        `parent_decision_id`, `operation`, `sources`, `memory_reads`, `state_digest`.
        """
        request = self._request(tool, arguments, request_id, fields)
        read = partial(messages.read_decision, request=request)
        return self._ask(self._decisions.Decide, request, read, self._attempts(timeout), self._metadata)

    def decide_plan(
        self,
        steps: Sequence[PlanStep],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        **fields: Unpack[ProposalFields],
    ) -> Decision:
        """Propose a plan of 1 to 64 steps, which is decided as a whole: every step is allowed, or none.

        Each step's own decision, with its token, is in `steps` of the answer. An allowed step without a token is
        proposed again, by `decide_step`. The other parameters are those of `decide`.
        """
        request = self._plan_request(steps, request_id, fields)
        read = partial(messages.read_decision, request=request)
        return self._ask(self._decisions.Decide, request, read, self._attempts(timeout), self._metadata)

    def decide_step(
        self,
        plan: Decision | str,
        step_id: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        **fields: Unpack[ProposalFields],
    ) -> Decision:
        """Propose a step of an allowed plan again, with values in the places of its references.

        `plan` is the plan's decision, or its decision_id. The other parameters are those of `decide`.
        """
        request = self._step_request(plan, step_id, (tool, arguments), request_id, fields)
        read = partial(messages.read_decision, request=request)
        return self._ask(self._decisions.Decide, request, read, self._attempts(timeout), self._metadata)

    def decide_batch(
        self, calls: Sequence[ToolCall], *, timeout: float | None = None, **fields: Unpack[ProposalFields]
    ) -> list[Decision | InterlockCallError]:
        """Propose 1 to 256 calls, each on its own: for each, in order, its decision or why there is none.

        An item's error is a value, and is not tried again here; the same ToolCall may be proposed again.
        `fields` are those of `decide`, and hold for all of the calls.
        """
        request = self._batch_request(calls, fields)
        read = partial(messages.read_batch, requests=request.requests)
        return self._ask(self._decisions.DecideBatch, request, read, self._attempts(timeout), self._metadata)

    def execute(
        self,
        decision: Decision | StepDecision | str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout: float | None = None,
    ) -> Execution:
        """Have the gateway make a call, once. `decision` is an allowed one, or its execution token as text.

        Asked once and never again by itself; where InterlockCallError.may_have_run is true, the tool may have
        run. Raises ValueError for a decision that is no allow, and where no gateway was given.
        """
        request = messages.execute_request(decision, tool, arguments)
        named = "" if isinstance(decision, str) else decision.decision_id
        call, read, attempt = self._executions.Execute, messages.read_execution, self._only_attempt(timeout)
        return self._ask(call, request, read, attempt, NO_METADATA, decision_id=named)

    def wait_decision(self, decision: Decision | str, *, timeout: float) -> Decision:
        """Wait at most `timeout` seconds for what people say to an escalated decision: what is decided then.

        That is a decision of its own, whose token is for its `edited_arguments` where it has some. After the time it is
        the escalated decision as it stands, to be waited for again; asking with the same request_id tells it, too.
        `decision` may be a decision_id; one that waits for nobody is answered at once.
        """
        attempts = self._attempts_at_waiting(timeout)
        wait, read = Wait(decision, attempts), partial(messages.read_waited, waited_for=decision)
        while True:
            call = self._decisions.WaitDecision
            told = self._ask(call, wait.request, read, attempts, self._metadata)
            pause = wait.pause_after(told)
            if pause is None:
                return told
            time.sleep(pause)

    def withdraw(self, decision: Decision | str, *, timeout: float | None = None) -> str:
        """Take an escalated proposal back, so that nobody is asked any more; the approval_id that was withdrawn.

        Empty where the proposal only joined an approval that another one opened: that stays. Raises
        InterlockCallError: APPROVAL_CLOSED where there is nothing to withdraw any more.
        """
        named = decision if isinstance(decision, str) else decision.decision_id
        request, call = WithdrawDecisionRequest(decision_id=named), self._decisions.WithdrawDecision
        return self._ask(call, request, messages.read_withdrawn, self._attempts(timeout), self._metadata)

    def run(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        wait_seconds: float = 0.0,
        **fields: Unpack[ProposalFields],
    ) -> Run:
        """Decide, wait for people where it is escalated, then execute where the decision is an allow.

        `timeout` holds for deciding and for executing, each; `wait_seconds` for waiting in between, 0 for not at all.
        Where an approver changed the arguments, those are executed: see `edited_arguments` of the decision. The other
        parameters are those of `decide`; raises as `decide`, `wait_decision` and `execute` do.
        """
        self._gateway_target()
        decision = self.decide(tool, arguments, request_id=request_id, timeout=timeout, **fields)
        if wait_seconds and is_pending(decision):
            decision = self.wait_decision(decision, timeout=wait_seconds)
        if not decision.allowed:
            return Run(decision=decision, execution=None)
        edited = decision.edited_arguments
        execution = self.execute(decision, tool, arguments if edited is None else edited, timeout=timeout)
        return Run(decision=decision, execution=execution)

    def list_tools(self, gateway: str = "", *, timeout: float | None = None) -> list[str]:
        """Names of the tools that the agent's roles could ever be allowed, in alphabetical order.

        Only those behind `gateway`, where it is named. What is listed is not permitted by that: each call is decided.
        """
        request, call = ListToolsRequest(gateway=gateway), self._decisions.ListTools
        return self._ask(call, request, messages.read_tools, self._attempts(timeout), self._metadata)

    def start_session(
        self, goal: str = "", *, agent: str = "", session_id: str | None = None, timeout: float | None = None
    ) -> Session:
        """Start a session before anything is proposed in it: this client's own unless `session_id` names one.

        With a user's credential, `goal` (1 to 8,192 characters) is what the user wants of `agent` in it, and never
        changes afterwards. With an agent's, both stay empty. The same again gives the same answer.
        """
        name = self._named(session_id)
        request = StartSessionRequest(session_id=name, agent=agent, goal=goal)
        call, attempts = self._decisions.StartSession, self._attempts(timeout)
        return self._ask(call, request, session_messages.read_started, attempts, self._metadata)

    def get_session(
        self,
        session_id: str | None = None,
        *,
        agent: str = "",
        timeline: bool = True,
        timeout: float | None = None,
    ) -> Session:
        """A session, this client's own unless `session_id` names one, with all of its timeline or without it.

        A user and an auditor name the `agent` whose session it is. `timeout` holds for each page of the timeline.
        """
        name, page_token = self._named(session_id), ""
        request, session = session_messages.get_session_request(name, agent, timeline=timeline), None
        while session is None or (timeline and page_token):
            read = partial(session_messages.read_session, before=session.timeline if session else ())
            call, attempts = self._decisions.GetSession, self._attempts(timeout)
            session, page_token = self._ask(call, request, read, attempts, self._metadata)
            request = session_messages.following(request, page_token)
        return session if timeline else replace(session, timeline=())

    def record_steps(
        self, steps: Iterable[Step], *, session_id: str | None = None, timeout: float | None = None
    ) -> StepsRecorded:
        """Record what the agent did besides proposing calls, in this client's session unless `session_id` names one.

        Steps are taken and sent 256 at a time, and are durable when the next are taken; one that was recorded
        before, with the same content, is ignored. Raises InterlockCallError: STEP_NUMBER_WENT_BACK; those that were
        sent before it are recorded. `timeout` holds for each 256.
        """
        total = StepsRecorded(recorded=0, last_number=0)
        for request in session_messages.steps_requests(self._named(session_id), steps):
            attempts = self._attempts(timeout)
            told = self._ask(
                self._send_steps, request, session_messages.read_recorded, attempts, self._metadata
            )
            total = StepsRecorded(recorded=total.recorded + told.recorded, last_number=told.last_number)
        return total

    def freeze(
        self,
        scope: FreezeScope | str,
        name: str = "",
        *,
        tenant: str = "",
        comment: str = "",
        timeout: float | None = None,
    ) -> Freeze:
        """Freeze an `agent` or a `tool` of this `name`, a whole `tenant`, or `all`; the freeze that stands then.

        Nothing that it covers is allowed from the answer on, and gateways refuse within two seconds what was allowed
        before. Needs an operator's credential; another `tenant` than the own, and `all`, need its role
        `every-tenant`. Freezing what is frozen changes nothing.
        """
        request = freeze_messages.freeze_request(scope, name, tenant=tenant, comment=comment)
        call, attempts = self._control.Freeze, self._attempts(timeout)
        return self._ask(call, request, freeze_messages.read_frozen, attempts, self._metadata)

    def unfreeze(
        self,
        scope: FreezeScope | str,
        name: str = "",
        *,
        tenant: str = "",
        comment: str = "",
        timeout: float | None = None,
    ) -> Freeze:
        """End a freeze, named as for `freeze`; the freeze as it ended. What was allowed before it stays refused."""
        request = freeze_messages.unfreeze_request(scope, name, tenant=tenant, comment=comment)
        call, attempts = self._control.Unfreeze, self._attempts(timeout)
        return self._ask(call, request, freeze_messages.read_unfrozen, attempts, self._metadata)

    def list_freezes(self, tenant: str = "", *, timeout: float | None = None) -> list[Freeze]:
        """What is frozen for a tenant, the own unless one is named, oldest first. For operators and auditors."""
        request, attempts = ListFreezesRequest(tenant=tenant), self._attempts(timeout)
        return self._ask(
            self._control.ListFreezes, request, freeze_messages.read_freezes, attempts, self._metadata
        )

    def records(
        self,
        type: RecordType | None = None,
        *,
        decision_id: str = "",
        page_size: int = 100,
        timeout: float | None = None,
    ) -> Iterator[Record]:
        """The records that this auditor may see, oldest first, asked for in pages of at most 1,000.

        Only those of this `type` and of this decision, where given. `timeout` holds for each page.
        """
        request, more = messages.list_records_request(type, decision_id, page_size), True
        while more:
            attempts = self._attempts(timeout)
            page, following = self._ask(
                self._audit.ListRecords, request, messages.read_page, attempts, self._metadata
            )
            yield from page
            request, more = messages.following(request, following), bool(following)

    def record(self, log_index: int, *, timeout: float | None = None) -> Record:
        """The record at this place of the decision log, from 0."""
        request, attempts = GetRecordRequest(log_index=log_index), self._attempts(timeout)
        return self._ask(self._audit.GetRecord, request, messages.read_record, attempts, self._metadata)

    @cached_property
    def approvals(self) -> Approvals:
        """What waits for people, for approvers and auditors."""
        return Approvals(ApprovalServiceStub(self._channel(self._service)), self._ask_service)

    def _send_steps(self, request: RecordStepsRequest, **options: Any) -> RecordStepsResponse:
        return self._decisions.RecordSteps(iter((request,)), **options)

    def _ask_service(
        self,
        call: Callable[..., Answered],
        request: Message,
        read: Callable[[Answered], Value],
        timeout: float | None,
        /,
    ) -> Value:
        return self._ask(call, request, read, self._attempts(timeout), self._metadata)

    def _ask(
        self,
        call: Callable[..., Answered],
        request: Asked,
        read: Callable[[Answered], Value],
        attempts: Attempts,
        metadata: tuple[tuple[str, str], ...],
        decision_id: str = "",
    ) -> Value:
        while True:
            try:
                answer = read(call(request, timeout=attempts.next_seconds(), metadata=metadata))
            except grpc.RpcError as error:
                failure = from_rpc(error, method=method_of(request))
            except InterlockCallError as error:
                failure = error
            else:
                attempts.succeeded()
                return answer
            seconds = attempts.wait_after(failure)
            if seconds is None:
                failure.decision_id = decision_id
                raise failure
            time.sleep(seconds)

    def _open(self, to: Target) -> grpc.Channel:
        if to.credentials is None:
            return grpc.insecure_channel(to.address, to.options)
        return grpc.secure_channel(to.address, to.credentials, to.options)

    @cached_property
    def _decisions(self) -> DecisionServiceStub:
        return DecisionServiceStub(self._channel(self._service))

    @cached_property
    def _control(self) -> ControlServiceStub:
        return ControlServiceStub(self._channel(self._service))

    @cached_property
    def _audit(self) -> AuditServiceStub:
        return AuditServiceStub(self._channel(self._service))

    @cached_property
    def _executions(self) -> GatewayServiceStub:
        return GatewayServiceStub(self._channel(self._gateway_target()))
