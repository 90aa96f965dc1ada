"""Settings of webhooks: who hears of approvals, where, and how much."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from interlock.compose.settings_parts import Closed, Identifier, is_loopback
from interlock.core.announcing import Topic
from interlock.core.web_address import parse
from interlock.core.webhook_bodies import Form

MOST_WEBHOOKS = 16


class WebhookSettings(Closed):
    """An endpoint that hears of approvals. `tenants` empty: of those of all tenants.

    The file with the secret has one to two lines; a request is signed with each.
    """

    name: Identifier
    url: Annotated[str, Field(max_length=2_048, repr=False)]
    secret_file: Path | None = None
    form: Form = "generic"
    events: Annotated[tuple[Topic, ...], Field(min_length=1)] = ("opened", "ended")
    tenants: tuple[Identifier, ...] = ()
    include_arguments: bool = False

    @field_validator("url")
    @classmethod
    def _safe_url(cls, url: str) -> str:
        """Of the URL nothing is told: its path may be a secret."""
        address = parse(url)
        if address.scheme != "https" and not is_loopback(f"{address.host}:0"):
            raise ValueError("must be https, or http to a loopback address: what waits for people crosses it")
        return str(address)

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.form == "generic" and self.secret_file is None:
            raise ValueError("the form `generic` needs `secret_file`: a receiver must know whom it hears")
        return self


def check_names(webhooks: tuple[WebhookSettings, ...]) -> tuple[WebhookSettings, ...]:
    """Raises ValueError for a name that two of them have: they would share an outbox."""
    names = [each.name for each in webhooks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"has more than one webhook `{twice[0]}`; give each a name of its own")
    return webhooks


Webhooks = Annotated[tuple[WebhookSettings, ...], Field(max_length=MOST_WEBHOOKS)]
