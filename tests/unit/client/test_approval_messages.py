"""What a person is shown of an approval is what the bytes say, or nothing."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.client import approval_messages, approval_values
from interlock.client.errors import InterlockCallError
from interlock.core import approval as core_approval
from interlock.core.canonical import canonicalize, digest
from interlock.v1 import approval_service_pb2 as pb
from interlock.v1 import decision_pb2

AT = Timestamp(seconds=1_800_000_000)
APPROVAL = pb.Approval(approval_id="a-1", version=1, open_time=AT, expire_time=AT)
ARGUMENTS = canonicalize({"to": "a-secret-account", "amount": 5})


def shown(**changes: Any) -> approval_values.ShownApproval:
    fields: dict[str, Any] = {"approval": APPROVAL}
    return approval_messages.read_shown(pb.GetApprovalResponse(**(fields | changes)))


def call(**changes: Any) -> approval_values.ApprovalCall:
    fields: dict[str, Any] = {"arguments_json": ARGUMENTS, "arguments_digest": digest(ARGUMENTS)}
    [found] = shown(calls=[pb.ApprovalCall(**(fields | changes))]).calls
    return found


def test_the_bytes_that_were_decided_are_known_by_their_digest() -> None:
    """Arguments match only where their bytes are the ones of the digest; concealed, nobody can tell (case 52)."""
    assert call().matches_digest is True
    assert call(arguments_json=ARGUMENTS.replace(b"5", b"6")).matches_digest is False
    assert call(arguments_json=b" " + ARGUMENTS).matches_digest is False
    assert call(arguments_digest="").matches_digest is False
    assert call(concealed=["/to"]).matches_digest is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":NaN}',
        b"{} {}",
        b'{"a":"\xff"}',
    ],
    ids=range(9),
)
def test_arguments_of_two_meanings_are_not_shown(data: bytes) -> None:
    """Bytes that are no one JSON object are no answer, and none of them is in the error (case 52)."""
    wrong: list[dict[str, Any]] = [
        {"calls": [pb.ApprovalCall(arguments_json=data)]},
        {"approved_before": pb.ApprovedBefore(resolve_time=AT, arguments_json=data)},
    ]
    if data:
        wrong.append({"edited_arguments_json": data})
    for changes in wrong:
        with pytest.raises(InterlockCallError, match="_json` is not"):
            shown(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"approval": pb.Approval(open_time=AT)},
        {"approval": pb.Approval(expire_time=AT)},
        {"approval": pb.Approval(open_time=Timestamp(seconds=2**60), expire_time=AT)},
        {"approval": pb.Approval(open_time=AT, expire_time=AT, answers=[pb.ApprovalAnswer()])},
        {"approved_before": pb.ApprovedBefore(arguments_json=b"{}")},
        {"preview": pb.Preview()},
        {"calls": [pb.ApprovalCall(arguments_json=b"{}", destinations_json=b"{}")]},
        {"calls": [pb.ApprovalCall(arguments_json=b"{}", destinations_json=b"[1]")]},
        {"calls": [pb.ApprovalCall(arguments_json=b"{}", destinations_json=b"[")]},
        {"calls": [pb.ApprovalCall(arguments_json=b"{}", facts_json=b"[]")]},
        {"calls": [pb.ApprovalCall(arguments_json=b"{}", files_json=b"1")]},
        {"calls": [pb.ApprovalCall(arguments_json=b"{}", files_json=b'{"/a":1}')]},
        {
            "calls": [
                pb.ApprovalCall(arguments_json=b"{}", reasons=[decision_pb2.Reason(metadata_json=b"[]")])
            ]
        },
    ],
    ids=range(13),
)
def test_what_is_not_whole_is_no_answer(changes: dict[str, Any]) -> None:
    """An approval of which a part is missing or broken is an error, and never shown in part."""
    with pytest.raises(InterlockCallError) as caught:
        shown(**changes)
    assert (caught.value.method, caught.value.code) == ("GetApproval", "INTERNAL")


def test_no_value_of_an_argument_is_in_a_repr() -> None:
    """What is proposed does not reach a log by way of a repr."""
    found = shown(
        calls=[pb.ApprovalCall(arguments_json=ARGUMENTS, destinations_json=b'[{"to":"a-secret-account"}]')],
        goal="a-secret-account",
        approved_before=pb.ApprovedBefore(resolve_time=AT, arguments_json=ARGUMENTS),
        edited_arguments_json=ARGUMENTS,
    )
    assert found.edited_arguments == {"to": "a-secret-account", "amount": 5}
    assert "a-secret-account" not in repr(found)


def test_states_and_resolutions_are_those_of_the_service() -> None:
    """The client knows every state and every resolution that the service does."""
    unknown = {"unrecognized"}
    assert {*map(str, approval_values.ApprovalState)} - unknown == {*map(str, core_approval.ApprovalState)}
    assert {*map(str, approval_values.Resolution)} - unknown == {*map(str, core_approval.Resolution)}
