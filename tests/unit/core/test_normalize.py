"""From the wire to a proposal: each field's rule, the digests, and what is concealed."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.adapters.keyed_digest import KeyedDigest
from interlock.core.canonical import canonicalize, digest_of
from interlock.core.catalog import CatalogFile, Violation, build_catalog
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller, CallerKind
from interlock.core.normalize import normalize
from interlock.core.proposal import Context, MemoryRead, Proposal, RawProposal, Source, SourceTrust
from tests.fakes import no_files

CATALOG = build_catalog(
    [
        CatalogFile.model_validate(
            {
                "gateway": "gateway-1",
                "server": "files",
                "tools": [
                    {
                        "name": "read",
                        "effects": ["read"],
                        "arguments": {"properties": {"path": {"type": "string"}}},
                    },
                    {
                        "name": "connect",
                        "effects": ["send"],
                        "arguments": {
                            "properties": {"host": {"type": "string"}},
                            "required": ["host"],
                            "additionalProperties": True,
                        },
                        "sensitive": ["/password", "/accounts/*/token", "/headers/Authorization"],
                    },
                ],
            }
        )
    ]
)
CALLER = Caller(kind=CallerKind.AGENT, tenant="acme", name="agent-7", roles=("dev",), credential_id="c-1")
RAW = RawProposal(
    caller=CALLER,
    request_id="request-1",
    session_id="session-1",
    parent_decision_id="",
    goal="read a file",
    tool="read",
    arguments_json=b'{"path":"a"}',
    context=Context(
        sources=(Source(kind="web", reference="https://a.example", trust=SourceTrust.UNTRUSTED),),
        memory_reads=(MemoryRead(key="plan", version=3, digest="d"),),
        state_digest="s",
    ),
)
conceal = KeyedDigest(bytes(32), "redaction")


def normalized(**changes: Any) -> Proposal:
    return normalize(replace(RAW, **changes), CATALOG, conceal, no_files)


def refusal(**changes: Any) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        normalized(**changes)
    return caught.value


def test_a_proposal_holds_what_was_sent() -> None:
    """A good request becomes a proposal with its tool, its arguments and their digest, and no violation."""
    proposal = normalized()
    assert proposal.tool is CATALOG.find("read")
    assert proposal == Proposal(
        caller=CALLER,
        request_id="request-1",
        session_id="session-1",
        parent_decision_id="",
        goal="read a file",
        context=RAW.context,
        tool_name="read",
        tool=proposal.tool,
        disclosed_arguments={"path": "a"},
        arguments_digest=digest_of({"path": "a"}),
        violations=(),
        payload_digest=proposal.payload_digest,
        raw=RAW,
    )
    assert proposal.key == ("acme", "agent-7", "request-1")


# Fields


@pytest.mark.parametrize(
    ("field", "attribute"),
    [
        ("request_id", "request_id"),
        ("proposal.session_id", "session_id"),
        ("proposal.parent_decision_id", "parent_decision_id"),
    ],
)
@pytest.mark.parametrize(
    "value", ["A", "a_b", "a b", "a\n", "a\0", "a/b", "é", "\u0430", "x" * 65, " ", "a\u200b"]
)
def test_refuses_an_identifier_of_other_characters(field: str, attribute: str, value: str) -> None:
    """Identifiers are 1 to 64 characters of [a-z0-9-]; look-alikes, case and line ends are refused (case 55)."""
    error = refusal(**{attribute: value})
    assert error.reason is ErrorReason.INVALID_FIELD
    assert [(violation.field, violation.description) for violation in error.violations] == [
        (field, "must be 1 to 64 characters of [a-z0-9-]")
    ]


def test_only_the_parent_may_be_empty() -> None:
    """A proposal need not come from another decision; it always has a request and a session."""
    assert refusal(request_id="").violations[0].field == "request_id"
    assert refusal(session_id="").violations[0].field == "proposal.session_id"
    assert normalized(parent_decision_id="").parent_decision_id == ""
    assert normalized(parent_decision_id="decision-1").parent_decision_id == "decision-1"


@pytest.mark.parametrize(
    "name", ["", "a b", "a\n", "x" * 129, "lire\u0301", "a;b", "\x1b[31m", "<script>", "=cmd"]
)
def test_refuses_a_tool_name_of_other_characters(name: str) -> None:
    """A tool's name that no catalog could have is a malformed field, and can go on no screen (case 43)."""
    assert refusal(tool=name).violations[0].field == "proposal.tool_call.tool"


@pytest.mark.parametrize("name", ["unknown", "READ", "read.", "../read", "x" * 128])
def test_a_well_formed_unknown_tool_is_for_the_policy(name: str) -> None:
    """A tool that the catalog does not have is no error: it is denied, and on record."""
    proposal = normalized(tool=name)
    assert (proposal.tool, proposal.tool_name, proposal.violations) == (None, name, ())


@pytest.mark.parametrize("operation", ["a b", "a\n", "x" * 129, "order#7", "é", "\x1b[31m", "a\0"])
def test_refuses_an_operation_of_other_characters(operation: str) -> None:
    """The name of an operation is short and plain, so that it can stand in a key and on a screen (case 43)."""
    assert refusal(operation=operation).violations[0].field == "proposal.operation"


@pytest.mark.parametrize("operation", ["", "order:7", "Pay/Invoice_7.2-b", "x" * 128])
def test_an_operation_is_kept_as_it_was_named(operation: str) -> None:
    """What the call is an attempt at is the caller's to name, or not to."""
    assert normalized(operation=operation).operation == operation


@pytest.mark.parametrize("goal", ["g" * 8_193, "a\0b", "\ud800"])
def test_refuses_a_goal_that_cannot_be_kept(goal: str) -> None:
    """A goal is a text of bounded length that a record can hold (case 31)."""
    assert refusal(goal=goal).violations[0].field == "proposal.goal"


def test_takes_any_other_goal() -> None:
    """A goal may be empty, long, and of any characters; it is data and is kept as it is (case 31)."""
    for goal in ("", "g" * 8_192, "\u202e\x1b[2J\r\n<b>", "\U0001f600"):
        assert normalized(goal=goal).goal == goal


def source(**changes: Any) -> Source:
    return replace(RAW.context.sources[0], **changes)


def read(**changes: Any) -> MemoryRead:
    return replace(RAW.context.memory_reads[0], **changes)


@pytest.mark.parametrize(
    ("context", "field"),
    [
        (Context(sources=(source(),) * 65), "sources"),
        (Context(sources=(source(), source(kind="k" * 129))), "sources[1].kind"),
        (Context(sources=(source(reference="r" * 2_049),)), "sources[0].reference"),
        (Context(sources=(source(reference="\0"),)), "sources[0].reference"),
        (Context(memory_reads=(read(),) * 257), "memory_reads"),
        (Context(memory_reads=(read(key="k" * 257),)), "memory_reads[0].key"),
        (Context(memory_reads=(read(), read(digest="d" * 129))), "memory_reads[1].digest"),
        (Context(memory_reads=(read(version=-1),)), "memory_reads[0].version"),
        (Context(memory_reads=(read(version=2**53),)), "memory_reads[0].version"),
        (Context(state_digest="d" * 129), "state_digest"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refuses_a_context_beyond_its_limits(context: Context, field: str) -> None:
    """Each list, text and number of the context has a limit, and the error names the place (cases 29, 32)."""
    error = refusal(context=context)
    assert error.reason is ErrorReason.INVALID_FIELD
    assert error.violations[0].field == f"proposal.context.{field}"


def test_takes_a_context_at_its_limits() -> None:
    """The limits themselves are within."""
    context = Context(
        sources=(source(kind="k" * 128, reference="r" * 2_048),) * 64,
        memory_reads=(read(key="k" * 256, version=2**53 - 1, digest="d" * 128),) * 256,
        state_digest="d" * 128,
    )
    assert normalized(context=context).context == context


# Arguments


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        (b'{"path":"a","path":"b"}', "/path"),
        (b'{"path":"a","Path":"b"}', "/Path"),
        (b'{"a":{"b":[{"c":1,"c":1}]}}', "/a/b/0/c"),
        (b'{"a":"1","\\u0061":"2"}', "/a"),
        (b'{"a":9007199254740992}', "/a"),
        (b'{"a":[1,18446744073709551616]}', "/a/1"),
        (b'{"a":111111111111111111111111111111}', "/a"),
        (b'{"a":1e400}', "/a"),
        (b'{"a":NaN}', "/a"),
        (b'{"a":-Infinity}', "/a"),
        (b'{"a":"\\ud800"}', "/a"),
    ],
)
def test_refuses_arguments_that_two_parsers_read_differently(arguments: bytes, pointer: str) -> None:
    """Duplicate keys, large integers and what is no JSON number are refused with their place (cases 27, 29, 30, 31)."""
    error = refusal(arguments_json=arguments)
    assert error.reason is ErrorReason.MALFORMED_ARGUMENTS
    assert [(violation.field, violation.pointer) for violation in error.violations] == [
        ("proposal.tool_call.arguments_json", pointer)
    ]


@pytest.mark.parametrize(
    "arguments", [b"", b"[]", b"null", b'"a"', b"{", b"{}{}", b"{} x", b"\xff", b"\xef\xbb\xbf{}"]
)
def test_refuses_arguments_that_are_no_object(arguments: bytes) -> None:
    """Arguments are one JSON object and nothing after it (case 7)."""
    assert refusal(arguments_json=arguments).reason is ErrorReason.MALFORMED_ARGUMENTS


def test_one_value_has_one_digest_however_it_is_written() -> None:
    """Order, space, escapes and spelling of numbers do not count: digest and policy see one form (cases 26, 28)."""
    spellings = [
        b'{"a":100,"b":[0,1],"c":"x"}',
        b'{"c":"x","b":[0,1],"a":100}',
        b' {"a" : 1e2, "b":[-0, 1.0],\n"c":"\\u0078"} ',
        b'{"a":100.0,"b":[-0.0,10e-1],"c":"x"}',
    ]
    proposals = [normalized(arguments_json=spelling) for spelling in spellings]
    assert {proposal.arguments_digest for proposal in proposals} == {
        digest_of({"a": 100, "b": [0, 1], "c": "x"})
    }
    assert len({proposal.payload_digest for proposal in proposals}) == 1
    assert {canonicalize(proposal.disclosed_arguments) for proposal in proposals} == {spellings[0]}


@pytest.mark.parametrize(
    "changed",
    [
        b'{"path":"b"}',
        b'{"path":"a ","x":0}',
        b'{"path":"a","force":false}',
        b"{}",
        b'{"path":["a"]}',
        b'{"Path":"a"}',
    ],
)
def test_another_value_has_another_digest(changed: bytes) -> None:
    """A changed byte or a default added later makes another call (case 26)."""
    assert normalized(arguments_json=changed).arguments_digest != normalized().arguments_digest


def test_composed_and_decomposed_letters_are_two_values() -> None:
    """Nothing is normalised silently: what was sent is what is hashed (case 31)."""
    composed, decomposed = (
        normalized(arguments_json=json.dumps({"path": text}).encode()) for text in ("\u00e9", "e\u0301")
    )
    assert composed.arguments_digest != decomposed.arguments_digest


def test_arguments_that_fail_the_schema_are_for_the_policy() -> None:
    """A call that fails its tool's schema is no error: its violations say what to repair."""
    assert normalized(arguments_json=b'{"path":1}').violations == (
        Violation(path="/path", rule="type", message='the value is not of type "string"'),
    )


# What is concealed


def connected(arguments: dict[str, Any]) -> Proposal:
    return normalized(tool="connect", arguments_json=json.dumps({"host": "h"} | arguments).encode())


@given(secret=st.from_regex(r"hunter2[A-Za-z]{1,8}", fullmatch=True))
def test_sensitive_values_are_concealed_in_every_place(secret: str) -> None:
    """Nothing that a policy or a record sees of a proposal holds a sensitive value (case 63)."""
    arguments = {
        "password": secret,
        "accounts": [{"token": secret, "id": 1}, {"token": {"deep": [secret]}}],
        "headers": {"Authorization": secret, "Accept": "text/html"},
    }
    proposal = connected(arguments)
    hidden = {"concealed": conceal(canonicalize(secret))}
    assert proposal.disclosed_arguments == {
        "host": "h",
        "password": hidden,
        "accounts": [
            {"token": hidden, "id": 1},
            {"token": {"concealed": conceal(canonicalize({"deep": [secret]}))}},
        ],
        "headers": {"Authorization": hidden, "Accept": "text/html"},
    }
    assert proposal.arguments_digest == digest_of({"host": "h"} | arguments)
    assert secret not in repr(proposal)


@pytest.mark.parametrize(
    "arguments",
    [
        {"password": {"a": "hunter2"}},
        {"accounts": "hunter2"},
        {"accounts": {"first": {"token": "hunter2"}}},
        {"accounts": ["hunter2"]},
        {"headers": ["Authorization: hunter2"]},
        {"headers": "Authorization: hunter2"},
        {"host": 1, "Password": "hunter2"},
        {"host": 1, "passwrod": "hunter2"},
    ],
    ids=json.dumps,
)
def test_a_sensitive_value_in_another_shape_is_concealed_too(arguments: dict[str, Any]) -> None:
    """A secret in another shape than expected, or in a call that fails the schema, does not show (case 63)."""
    proposal = connected(arguments)
    assert "hunter2" not in repr(proposal)
    assert proposal.arguments_digest == digest_of({"host": "h"} | arguments)


def test_equal_secrets_stay_equal() -> None:
    """Equality of concealed values is provable with the key, however the value was written."""
    first = normalized(tool="connect", arguments_json=b'{"host":"h","password":1e2}')
    second = normalized(tool="connect", arguments_json=b'{"password":100,"host":"h"}')
    assert first.disclosed_arguments == second.disclosed_arguments
    assert connected({"password": 101}).disclosed_arguments != first.disclosed_arguments


def test_no_sensitive_value_no_change() -> None:
    """Arguments without a sensitive value are disclosed as they are."""
    assert connected({"headers": {"Accept": "*/*"}}).disclosed_arguments == {
        "host": "h",
        "headers": {"Accept": "*/*"},
    }


# The payload's digest


@pytest.mark.parametrize(
    "changes",
    [
        {"session_id": "session-2"},
        {"parent_decision_id": "decision-1"},
        {"operation": "order:7"},
        {"goal": "read a file "},
        {"tool": "read2"},
        {"arguments_json": b"{}"},
        {"context": Context()},
        {"context": replace(RAW.context, state_digest="t")},
        {"context": replace(RAW.context, sources=())},
        {"context": replace(RAW.context, sources=(source(trust=SourceTrust.TRUSTED),))},
        {"context": replace(RAW.context, sources=(source(kind="mail"),))},
        {"context": replace(RAW.context, sources=(source(reference=""),))},
        {"context": replace(RAW.context, sources=(source(), source()))},
        {"context": replace(RAW.context, memory_reads=())},
        {"context": replace(RAW.context, memory_reads=(read(key="x"),))},
        {"context": replace(RAW.context, memory_reads=(read(version=4),))},
        {"context": replace(RAW.context, memory_reads=(read(digest="e"),))},
    ],
    ids=str,
)
def test_the_payload_digest_covers_what_was_proposed(changes: dict[str, Any]) -> None:
    """Another payload under the same request_id shows, whatever part of it is other (invariant 9)."""
    assert normalized(**changes).payload_digest != normalized().payload_digest


@pytest.mark.parametrize(
    "changes",
    [
        {"request_id": "request-2"},
        {"caller": replace(CALLER, credential_id="c-2", roles=())},
        {"arguments_json": b' {"path" : "\\u0061"} '},
    ],
    ids=str,
)
def test_the_payload_digest_covers_nothing_else(changes: dict[str, Any]) -> None:
    """A retry with a new credential, or with the same value in other bytes, is the same payload (case 33)."""
    assert normalized(**changes).payload_digest == normalized().payload_digest


def test_without_an_operation_the_payload_digest_is_what_it_was() -> None:
    """A request that was decided before there were operations is still the same request (invariant 9)."""
    context = RAW.context
    assert normalized().payload_digest == digest_of(
        [
            "session-1",
            "",
            "read a file",
            "read",
            digest_of({"path": "a"}),
            [["web", "https://a.example", "untrusted"]],
            [["plan", 3, "d"]],
            context.state_digest,
        ]
    )


def test_neighbouring_fields_do_not_run_together() -> None:
    """No text moves from one field to the next without a change of the digest."""
    moved = {"session_id": "session", "parent_decision_id": "1"}
    assert normalized(**moved).payload_digest != normalized(session_id="session1").payload_digest


def test_the_arguments_of_an_unknown_tool_are_concealed_whole() -> None:
    """Case 63: nobody said what is secret in the arguments of a tool that the catalog lacks."""
    proposal = normalize(
        replace(RAW, tool="conect", arguments_json=b'{"password":"hunter2"}'),
        CATALOG,
        KeyedDigest(bytes(32), "t"),
        no_files,
    )
    assert list(proposal.disclosed_arguments) == ["concealed"]
    assert "hunter2" not in str(proposal)
