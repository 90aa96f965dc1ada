"""Why a decision is what it is: reasons, as a policy gives them and as the service itself does."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from interlock.core.canonical import canonicalize

ReasonCode = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$", max_length=128)]


def recordable(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What has no canonical form, such as an integer beyond 2^53-1, could not go on record."""
    canonicalize(value)
    return value


class Reason(BaseModel):
    """Why: a stable code `topic.name`, a text for a person, data for a program, and where it applies."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    code: ReasonCode
    message: Annotated[str, Field(min_length=1, max_length=1024)]
    metadata: Annotated[dict[str, JsonValue], AfterValidator(recordable)] = Field(default_factory=dict)
    path: Annotated[str, Field(pattern=r"^(?s:(/.*)?)$", max_length=1024)] = ""
