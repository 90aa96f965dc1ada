"""The one proposal that all are asked to decide, in each form that it is sent in.

The first decision is the real service's: what it recorded as OPA's input is what OPA is asked directly, and
what it answered is what the bare server answers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import orjson
from crowd import MARKER, SESSION_MARKER, Metadata
from measure import Kind

from interlock.v1 import decision_service_pb2 as pb
from interlock.v1 import proposal_pb2
from interlock.v1.decision_service_pb2_grpc import DecisionServiceStub

START_LIMIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Files: what is sent, by kind of load and with MARKER in it, and the answer to Decide."""

    templates: Mapping[Kind, Path]
    reply: Path


def request() -> pb.DecideRequest:
    """A read that the role `contributor` is granted."""
    arguments = {"repo_path": "/srv/repositories/example", "revision": MARKER}
    call = proposal_pb2.ToolCall(tool="git_show", arguments_json=orjson.dumps(arguments))
    proposal = proposal_pb2.Proposal(session_id=SESSION_MARKER, goal="see what changed", tool_call=call)
    return pb.DecideRequest(request_id=MARKER, proposal=proposal)


def decide_first(address: str, metadata: Metadata) -> pb.DecideResponse:
    """What the service answers. Raises ValueError: not an allow."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        answer: pb.DecideResponse = DecisionServiceStub(channel).Decide(
            request(),
            metadata=metadata,
            timeout=START_LIMIT_SECONDS,
            wait_for_ready=True,
        )
    if not answer.decision.execution_token:
        raise ValueError("the proposal of the benchmark is not allowed")
    return answer


def write_inputs(folder: Path, answer: pb.DecideResponse, shown_record: str) -> Inputs:
    """Write the files. `shown_record` is what `interlock log show` prints of the decision."""
    document = json.loads(shown_record)["record"]["input"]
    # As an entry of a batch: the bytes of several messages, one after the other, are their union.
    entry = pb.DecideBatchRequest(requests=[request()])
    templates: dict[Kind, Path] = {
        "decide": _write(folder / "decide.bin", request().SerializeToString()),
        "batch": _write(folder / "batch_entry.bin", entry.SerializeToString()),
        "opa": _write(folder / "opa.json", orjson.dumps({"input": document})),
    }
    return Inputs(templates=templates, reply=_write(folder / "reply.bin", answer.SerializeToString()))


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
