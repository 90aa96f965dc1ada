"""Webhooks as the settings name them: who hears of approvals, and what tells them while the service runs."""

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from interlock.adapters.backoff import jittered
from interlock.adapters.metrics import PrometheusMeter
from interlock.adapters.webhook import Endpoint, http_webhooks
from interlock.compose.store import Store
from interlock.compose.webhook_settings import WebhookSettings
from interlock.core.announcing import Announcement, Hearer
from interlock.flows.announce import Announcing, Delivery, announce_until
from interlock.ports import Clock, WebhookSender

LOOK_EVERY_SECONDS = 1.0
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 3_600.0
AFTER_DEFECT_SECONDS = 5.0
LEAST_SECRET_BYTES = 32
MOST_SECRETS = 2

logger = structlog.get_logger()


class WebhookError(Exception):
    """A webhook that cannot be used as it is set up; the message says why, and nothing of its secret."""


def hearers(webhooks: Sequence[WebhookSettings]) -> tuple[Hearer, ...]:
    """Who hears of what."""
    return tuple(
        Hearer(name=each.name, topics=frozenset(each.events), tenants=frozenset(each.tenants))
        for each in webhooks
    )


def endpoint_of(webhook: WebhookSettings) -> Endpoint:
    """Where it is, with its secrets from their file. Raises WebhookError."""
    secrets = () if webhook.secret_file is None else _secrets(webhook.secret_file)
    return Endpoint(url=webhook.url, secrets=secrets)


def look_at_webhook(webhook: WebhookSettings) -> str:
    """How it is set up; of its address only the host is told (case 63). Raises WebhookError."""
    signed = len(endpoint_of(webhook).secrets)
    told = {0: "not signed", 1: "signed with one secret"}.get(signed, f"signed with {signed} secrets")
    return f"{webhook.form} to {urlsplit(webhook.url).hostname}, {told}"


@contextlib.asynccontextmanager
async def telling(
    webhooks: Sequence[WebhookSettings],
    store: Store,
    clock: Clock,
    meter: PrometheusMeter,
    *,
    end_seconds: float,
) -> AsyncIterator[None]:
    """Tell the webhooks what they are to hear until the end of the block, and then for `end_seconds` what is under way.

    Raises WebhookError.
    """
    endpoints = {each.name: endpoint_of(each) for each in webhooks}
    ended = asyncio.Event()
    async with http_webhooks(endpoints, clock) as sender:
        tasks = [
            asyncio.create_task(tell_until(ended, _announcing(each, store, sender, clock, meter)))
            for each in webhooks
        ]
        try:
            yield
        finally:
            ended.set()
            await _end(tasks, end_seconds)


async def tell_until(
    ended: asyncio.Event, announcing: Announcing, *, again_seconds: float = AFTER_DEFECT_SECONDS
) -> None:
    """Tell a webhook until told to end. A defect is noted, and it goes on: what was claimed is due again later."""
    while not ended.is_set():
        try:
            await announce_until(ended, announcing, every_seconds=LOOK_EVERY_SECONDS)
        except Exception:  # whatever it is, the next announcements are to be told
            logger.exception("internal_error", webhook=announcing.webhook)
            await asyncio.sleep(again_seconds)


def _announcing(
    webhook: WebhookSettings, store: Store, sender: WebhookSender, clock: Clock, meter: PrometheusMeter
) -> Announcing:
    def told(announcement: Announcement, delivery: Delivery, why: str) -> None:
        meter.announced(announcement.webhook, delivery.value)
        if delivery is not Delivery.DELIVERED:
            log = logger.error if delivery is Delivery.GIVEN_UP else logger.warning
            log(
                f"webhook_{delivery.value}",
                webhook=announcement.webhook,
                delivery_id=announcement.delivery_id,
                approval_id=announcement.told["approval_id"],
                attempts=announcement.attempts,
                reason=why,
            )

    return Announcing(
        webhook=webhook.name,
        form=webhook.form,
        include_arguments=webhook.include_arguments,
        state=store.state,
        listings=store.state,
        reader=store.log,
        sender=sender,
        clock=clock,
        delays=jittered(first=FIRST_DELAY_SECONDS, longest=LONGEST_DELAY_SECONDS),
        told=told,
    )


async def _end(tasks: Sequence["asyncio.Task[None]"], seconds: float) -> None:
    """What does not end in time is cut off; it is due again soon, here or at another replica."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _secrets(file: Path) -> tuple[bytes, ...]:
    """The secrets in a file, one a line."""
    try:
        mode, lines = file.stat().st_mode, file.read_bytes().split()
    except OSError as error:
        raise WebhookError(f"the secret of a webhook cannot be read: {error}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise WebhookError(f"`{file}` is open to others; run `chmod 600 {file}`")
    if not 1 <= len(lines) <= MOST_SECRETS:
        raise WebhookError(f"`{file}` has {len(lines)} secrets: expected 1 or {MOST_SECRETS}, one a line")
    if any(len(line) < LEAST_SECRET_BYTES for line in lines):
        raise WebhookError(
            f"`{file}` has a secret of less than {LEAST_SECRET_BYTES} bytes; make one with `openssl rand -hex 32`"
        )
    return tuple(lines)
