"""What both clients are made of, but for the waiting."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

from grpc_health.v1 import health_pb2

from interlock.client.connection import Target, bearer, target, trust
from interlock.client.messages import decide_request, plan_request, step_request
from interlock.client.plan_values import PlanStep
from interlock.client.retry import Attempts, Throttle
from interlock.client.values import Decision, ProposalFields, ToolCall, new_request_id
from interlock.client.waiting import LONGEST_CALL_SECONDS
from interlock.v1 import decision_service_pb2 as pb

NO_METADATA: tuple[tuple[str, str], ...] = ()
"""A gateway gets no credential: it could decide with it in the caller's name (invariant 5)."""

WHOLE_SERVER = health_pb2.HealthCheckRequest(service="")

Channel = TypeVar("Channel")


class BaseClient(ABC, Generic[Channel]):
    """How the services are reached and asked; `Interlock` and `AsyncInterlock` add how one waits for them.

    `address` is the decision service's, `gateway` the gateway's, each `host:port`. `credential` is None for a
    client that only executes. `ca_file` holds, in PEM, the certificates to trust over TLS; without it nothing
    is encrypted, and only loopback addresses are allowed. `session_id` (1 to 64 characters of [a-z0-9-]) is a
    new UUID unless given. `timeout` is in seconds, for every call that is not given its own. Raises
    ValueError, and OSError for the `ca_file`.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:7410",
        *,
        credential: str | None,
        gateway: str | None = None,
        ca_file: Path | None = None,
        session_id: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        roots = None if ca_file is None else trust(ca_file)
        self.session_id = str(uuid4()) if session_id is None else session_id
        self._service = target(address, roots)
        self._gateway = None if gateway is None else target(gateway, roots)
        self._metadata = NO_METADATA if credential is None else bearer(credential)
        self._timeout = _positive(timeout)
        self._throttle = Throttle()
        self._channels: dict[Target, Channel] = {}

    @abstractmethod
    def _open(self, to: Target) -> Channel:
        """A new channel."""

    def _channel(self, to: Target) -> Channel:
        """Opened at first use: an asynchronous one belongs to the event loop that runs then."""
        if to not in self._channels:
            self._channels.setdefault(to, self._open(to))
        return self._channels[to]

    def _gateway_target(self) -> Target:
        if self._gateway is None:
            raise ValueError(
                "executing needs the address of a gateway: give `gateway`, such as `127.0.0.1:7420`"
            )
        return self._gateway

    def _targets(self) -> list[Target]:
        return [each for each in (self._service, self._gateway) if each is not None]

    def _named(self, session_id: str | None) -> str:
        """The session that is meant: this client's own unless another is named."""
        return self.session_id if session_id is None else session_id

    def _attempts(self, timeout: float | None) -> Attempts:
        return Attempts(seconds=self._seconds(timeout), throttle=self._throttle)

    def _attempts_at_waiting(self, seconds: float) -> Attempts:
        return Attempts(seconds=_positive(seconds), throttle=self._throttle, each=LONGEST_CALL_SECONDS)

    def _only_attempt(self, timeout: float | None) -> Attempts:
        # A lost reply must not be guessed at: the tool may have run, and presenting the token once more would
        # tell no more than that it was redeemed. Who proposed the call has to look.
        return Attempts(seconds=self._seconds(timeout), throttle=Throttle(most=0))

    def _attempts_until_ready(self, timeout: float | None) -> Attempts:
        return Attempts(seconds=self._seconds(timeout), throttle=Throttle(most=math.inf))

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else _positive(timeout)

    def _request(
        self, tool: str, arguments: Mapping[str, Any], request_id: str | None, fields: ProposalFields
    ) -> pb.DecideRequest:
        name = new_request_id() if request_id is None else request_id
        call = ToolCall(tool=tool, arguments=arguments, request_id=name)
        return decide_request(call, session_id=self.session_id, **fields)

    def _plan_request(
        self, steps: Sequence[PlanStep], request_id: str | None, fields: ProposalFields
    ) -> pb.DecideRequest:
        name = new_request_id() if request_id is None else request_id
        return plan_request(steps, request_id=name, session_id=self.session_id, **fields)

    def _step_request(
        self,
        plan: Decision | str,
        step_id: str,
        call: tuple[str, Mapping[str, Any]],
        request_id: str | None,
        fields: ProposalFields,
    ) -> pb.DecideRequest:
        name = new_request_id() if request_id is None else request_id
        tool, arguments = call
        decision_id = plan if isinstance(plan, str) else plan.decision_id
        named = ToolCall(tool=tool, arguments=arguments, request_id=name)
        return step_request(named, decision_id, step_id, session_id=self.session_id, **fields)

    def _batch_request(self, calls: Sequence[ToolCall], fields: ProposalFields) -> pb.DecideBatchRequest:
        return pb.DecideBatchRequest(
            requests=[decide_request(call, session_id=self.session_id, **fields) for call in calls]
        )


def _positive(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise ValueError(f"`timeout` must be a positive number of seconds, got `{seconds}`")
    return seconds
