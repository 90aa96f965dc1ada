"""The obligations that a gateway can meet: a closed list, for one that is not known is never skipped.

docs/obligations.md tells policy authors what each does; a test compares the two.
"""

from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from interlock.core import json_pointer
from interlock.core.decision import Obligation
from interlock.core.errors import ErrorReason, InterlockError

MAX_TIMEOUT_SECONDS = 600
MAX_POINTERS = 64
MAX_BYTES = 2**53 - 1

PatternSet = Literal["secrets", "personal_data"]
"""Sets of patterns that `redact_result` knows: core/secrets.py and core/personal_data.py."""


def _is_pointer(text: str) -> str:
    json_pointer.to_path(text)
    return text


def _is_pointer_to_member(text: str) -> str:
    if not json_pointer.to_path(text):
        raise ValueError("the whole result is no member of anything")
    return text


_Pointer = Annotated[str, Field(max_length=json_pointer.MAX_LENGTH), AfterValidator(_is_pointer)]
_PointerToMember = Annotated[
    str, Field(max_length=json_pointer.MAX_LENGTH), AfterValidator(_is_pointer_to_member)
]


class _Closed(BaseModel):
    """Exact types, and no parameter that is not known: what is not understood is not met."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Timeout(_Closed):
    """The tool gets so many seconds; past them the outcome is unknown."""

    type: Literal["timeout"]
    seconds: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False)]


class MaxResultBytes(_Closed):
    """An answer whose canonical JSON has more bytes is not returned; its size and digest are."""

    type: Literal["max_result_bytes"]
    bytes: Annotated[int, Field(ge=1, le=MAX_BYTES)]


class RedactResult(_Closed):
    """What these pointers lead to, and what these patterns find, is replaced before anybody sees the result."""

    type: Literal["redact_result"]
    pointers: Annotated[tuple[_Pointer, ...], Field(strict=False, max_length=MAX_POINTERS)] = ()
    patterns: Annotated[
        tuple[PatternSet, ...], Field(strict=False, max_length=len(get_args(PatternSet)))
    ] = ()

    @model_validator(mode="after")
    def _redacts_something(self) -> "RedactResult":
        if not self.pointers and not self.patterns:
            raise ValueError("neither pointers nor patterns: nothing would be redacted")
        return self


class DropFields(_Closed):
    """What these pointers lead to is taken out of the result before anybody sees it."""

    type: Literal["drop_fields"]
    pointers: Annotated[
        tuple[_PointerToMember, ...], Field(strict=False, min_length=1, max_length=MAX_POINTERS)
    ]


class Sandbox(_Closed):
    """The call runs in a sandbox that gives it no more than this: the network, and the roots that it may write to."""

    type: Literal["sandbox"]
    network: bool = False
    writable: Annotated[tuple[str, ...], Field(strict=False)] = ()


class DryRun(_Closed):
    """Nothing runs; the result says which call would have been made."""

    type: Literal["dry_run"]


class RequireIdempotencyKey(_Closed):
    """The tool does nothing again for a key that it has seen, as the catalog says, and gets the token's jti as key."""

    type: Literal["require_idempotency_key"]


Understood = Annotated[
    Timeout | MaxResultBytes | RedactResult | DropFields | Sandbox | DryRun | RequireIdempotencyKey,
    Field(discriminator="type"),
]
_UNDERSTOOD: TypeAdapter[Understood] = TypeAdapter(Understood)

KINDS: tuple[type[BaseModel], ...] = get_args(get_args(Understood)[0])
"""All of them."""


def type_of(kind: type[BaseModel]) -> str:
    """The `type` by which policies ask for it."""
    [name] = get_args(kind.model_fields["type"].annotation)
    return str(name)


ABILITIES = tuple(sorted(map(type_of, KINDS)))
"""The types, as a gateway states them to the decision service."""


def understand(obligation: Obligation) -> Understood:
    """The obligation in the gateway's terms.

    Raises InterlockError OBLIGATION_UNSUPPORTED: an unknown type, an unknown parameter, a bad value.
    """
    try:
        return _UNDERSTOOD.validate_python(obligation.as_json())
    except ValidationError as error:
        raise unsupported(
            obligation.type, f"this gateway cannot meet the obligation `{obligation.type}` as it is stated"
        ) from error


def unsupported(type: str, message: str) -> InterlockError:
    """The refusal of a call whose obligation cannot be met; nothing ran."""
    return InterlockError(
        reason=ErrorReason.OBLIGATION_UNSUPPORTED, message=message, metadata={"obligation": type}
    )
