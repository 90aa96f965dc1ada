"""Webhooks over real HTTP, from outboxes in each store: told once, again, later or never, as each promises."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import structlog
from aiohttp import web

from interlock.adapters.cells_sqlite import SqliteSessionState
from interlock.adapters.metrics import PrometheusMeter
from interlock.adapters.store_sqlite import SqliteDecisionLog
from interlock.adapters.webhook import Endpoint, HttpWebhooks, http_webhooks, signature
from interlock.compose.store import Store
from interlock.compose.webhook_settings import WebhookSettings
from interlock.compose.webhooks import hearers, tell_until, telling
from interlock.core.announcing import GIVE_UP, Announcement, Hearer, outbox
from interlock.core.decision import Verdict
from interlock.core.errors import InterlockError
from interlock.core.plan import PlanProposal
from interlock.core.webhook_bodies import Form
from interlock.flows.announce import AT_ONCE, CLAIMED, Announcing, Delivery, announce_until, deliver_due
from interlock.flows.decide import decide
from tests.contract.certificates import a_certificate_of
from tests.contract.stores import EVERY, STORED, AnyStore, Place
from tests.contract.web_services import WebService, socket_service, web_service
from tests.deciders import a_decider
from tests.fakes import CountingIdentifiers, MemoryCredentials, OneKeyPair, ScriptedEngine, SettableClock
from tests.plans import a_plan, a_step
from tests.proposals import a_proposal, an_answer
from tests.waiting import until

SECRET = b"0123456789abcdef0123456789abcdef"
HEARER = Hearer(name="on-call", topics=frozenset({"opened", "ended"}))
DELAY = timedelta(seconds=5)


async def taken(_: web.Request) -> web.Response:
    """An endpoint that takes whatever it gets, and answers at length."""
    return web.Response(text="x" * 100_000)


@pytest.fixture(params=EVERY)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each store in turn."""
    return Place(request.param, tmp_path / "store.db", request)


@pytest.fixture
async def memory(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[AnyStore]:
    """The store in memory."""
    async with Place("memory", tmp_path, request).open() as store:
        yield store


async def escalate(
    store: AnyStore,
    clock: SettableClock,
    *hearers: Hearer,
    request_id: str = "r-1",
    asked: PlanProposal | None = None,
) -> str:
    """Let an approval of a call, or of what is asked, be opened on the store. The approval's name."""
    decider = a_decider(
        log=store.log,
        state=store.state,
        engine=ScriptedEngine(lambda _: an_answer("escalate")),
        signer=OneKeyPair(),
        clock=clock,
        identifiers=CountingIdentifiers(request_id),
        hearers=hearers,
    )
    call = a_proposal(
        request_id,
        "git_commit",
        {"repo_path": f"/srv/{request_id}", "message": "a secret of the agent's"},
        goal="the agent's own words",
    )
    [decision] = await decide([asked or call], decider, limit_seconds=5.0)
    assert not isinstance(decision, InterlockError)
    assert decision.verdict is Verdict.ESCALATE
    return decision.approval_id


@dataclass(slots=True)
class BreakingClock:
    """A clock with a defect, the first time that it is looked at."""

    clock: SettableClock
    broken: bool = False

    def now(self) -> datetime:
        if not self.broken:
            self.broken = True
            raise ZeroDivisionError
        return self.clock.now()


@dataclass(slots=True, kw_only=True)
class Teller:
    """One replica that tells a webhook. `heard` is what came of its attempts."""

    store: AnyStore
    sender: HttpWebhooks
    clock: SettableClock
    heard: list[tuple[Delivery, str]] = field(default_factory=list)
    form: Form = "generic"
    include_arguments: bool = False
    webhook: str = HEARER.name

    @property
    def announcing(self) -> Announcing:
        """What its flow needs."""
        return Announcing(
            webhook=self.webhook,
            form=self.form,
            include_arguments=self.include_arguments,
            state=self.store.state,
            listings=self.store.state,
            reader=self.store.log,
            sender=self.sender,
            clock=self.clock,
            delays=lambda failures: DELAY.total_seconds() * 2**failures,
            told=self._told,
        )

    def _told(self, _: Announcement, delivery: Delivery, why: str) -> None:
        self.heard.append((delivery, why))

    async def tell(self) -> int:
        """Deliver what is due."""
        return await deliver_due(self.announcing)


@contextlib.asynccontextmanager
async def a_teller(
    store: AnyStore, port: int, clock: SettableClock, *, limit_seconds: float = 30.0
) -> AsyncIterator[Teller]:
    """A replica that tells what listens on this port."""
    endpoint = Endpoint(url=f"http://127.0.0.1:{port}/hooks/a-secret-path", secrets=(SECRET,))
    async with http_webhooks({HEARER.name: endpoint}, clock, limit_seconds=limit_seconds) as sender:
        yield Teller(store=store, sender=sender, clock=clock)


def deliveries(service: WebService) -> list[str]:
    """The names of the deliveries that came, in their order."""
    return [request.headers["Interlock-Delivery"] for request in service.requests]


async def test_two_replicas_tell_once(place: Place) -> None:
    """An approval that is opened is told to a webhook, signed, and by one of two replicas that look at once."""
    clock = SettableClock()
    async with place.open() as store, web_service(taken) as service:
        approval_id = await escalate(store, clock, HEARER)
        async with a_teller(store, service.port, clock) as one, a_teller(store, service.port, clock) as other:
            assert sorted(await asyncio.gather(one.tell(), other.tell())) == [0, 1]
            assert await one.tell() + await other.tell() == 0
        [request], [body] = service.requests, service.bodies
        assert json.loads(body)["approval"]["approval_id"] == approval_id
        assert json.loads(body)["delivery_id"] == request.headers["Interlock-Delivery"]
        assert request.headers["Interlock-Signature"] == signature([SECRET], body, clock.now())
        assert (request.method, request.content_type) == ("POST", "application/json")
        assert one.heard + other.heard == [(Delivery.DELIVERED, "")]


@pytest.mark.parametrize("kind", STORED)
async def test_what_a_crash_cut_off_is_told_after_a_restart(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What a service was sending when it died is sent again when its claim is over, as the same delivery."""
    clock, place = SettableClock(), Place(kind, tmp_path / "store.db", request)

    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with place.open() as store, web_service(hang) as hanging:
        await escalate(store, clock, HEARER)
        async with a_teller(store, hanging.port, clock) as teller:
            dying = asyncio.create_task(teller.tell())
            await until(lambda: bool(hanging.requests))
            dying.cancel()
            await asyncio.gather(dying, return_exceptions=True)
    async with place.open() as store, web_service(taken) as service:
        async with a_teller(store, service.port, clock) as teller:
            assert await teller.tell() == 0
            clock.move(CLAIMED)
            assert await teller.tell() == 1
            assert await teller.tell() == 0
        assert deliveries(service) == deliveries(hanging)
        assert service.bodies == hanging.bodies


async def answer_500(_: web.Request) -> web.Response:
    """An endpoint that fails."""
    return web.Response(status=500)


async def answer_302(_: web.Request) -> web.Response:
    """An endpoint that sends to another."""
    return web.Response(status=302, headers={"Location": "/elsewhere"})


@pytest.mark.parametrize(
    ("handler", "why"),
    [(answer_500, "status 500"), (answer_302, "status 302, and no redirect is followed")],
    ids=["500", "redirect"],
)
async def test_what_was_not_taken_is_sent_again(
    memory: AnyStore, handler: Callable[[web.Request], Awaitable[web.Response]], why: str
) -> None:
    """Anything but a 2xx is sent again later, and later still, as the same delivery; no redirect is followed."""
    clock = SettableClock()
    await escalate(memory, clock, HEARER)
    async with web_service(handler) as service, a_teller(memory, service.port, clock) as teller:
        assert await teller.tell() == 1
        assert await teller.tell() == 0
        clock.move(DELAY)
        assert await teller.tell() == 1
        clock.move(DELAY)
        assert await teller.tell() == 0
        clock.move(DELAY)
        assert await teller.tell() == 1
    assert teller.heard == [(Delivery.PUT_OFF, why)] * 3
    assert service.lines == ["POST /hooks/a-secret-path"] * 3
    assert len(set(deliveries(service))) == 1


async def test_an_endpoint_that_is_not_there_hears_when_it_is_back(memory: AnyStore) -> None:
    """A refused connection is a failure like any other, and nothing of the address is told of it (case 63)."""
    clock = SettableClock()
    await escalate(memory, clock, HEARER)
    async with web_service(taken) as gone:
        port = gone.port
    async with a_teller(memory, port, clock) as teller:
        assert await teller.tell() == 1
        assert teller.heard == [(Delivery.PUT_OFF, "ConnectError")]
    clock.move(DELAY)
    async with web_service(taken) as back, a_teller(memory, back.port, clock) as teller:
        assert await teller.tell() == 1
        assert teller.heard == [(Delivery.DELIVERED, "")]


async def test_an_endpoint_that_never_answers_is_given_a_bounded_time(memory: AnyStore) -> None:
    """A request ends in bounded time, also where the answer comes drop by drop and has no end."""
    clock = SettableClock()
    await escalate(memory, clock, HEARER)

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.Event().wait()

    async with socket_service(drip) as port, a_teller(memory, port, clock, limit_seconds=0.05) as teller:
        assert await teller.tell() == 1
    assert teller.heard == [(Delivery.PUT_OFF, "TimeoutError")]


async def test_a_body_without_end_is_not_read(memory: AnyStore) -> None:
    """The status is all of an answer that is read: a body without end keeps nobody."""
    clock = SettableClock()
    await escalate(memory, clock, HEARER)

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with socket_service(endless) as port, a_teller(memory, port, clock) as teller:
        assert await teller.tell() == 1
    assert teller.heard == [(Delivery.DELIVERED, "")]


async def test_a_webhook_that_hangs_delays_no_other(memory: AnyStore) -> None:
    """Each webhook has an outbox and a flow of its own: a dead one keeps neither another nor a decision waiting."""
    clock, ended = SettableClock(), asyncio.Event()
    other = replace(HEARER, name="other")
    hung = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await hung.wait()
        return web.Response()

    async with web_service(hang) as dead, web_service(taken) as alive:
        endpoints = {
            HEARER.name: Endpoint(url=f"http://127.0.0.1:{dead.port}/", secrets=()),
            other.name: Endpoint(url=f"http://127.0.0.1:{alive.port}/", secrets=()),
        }
        async with http_webhooks(endpoints, clock, limit_seconds=30.0) as sender:
            tellers = [Teller(store=memory, sender=sender, clock=clock, webhook=name) for name in endpoints]
            flows = [
                asyncio.create_task(announce_until(ended, each.announcing, every_seconds=0.001))
                for each in tellers
            ]
            await escalate(memory, clock, HEARER, other)
            await until(lambda: bool(dead.requests) and len(alive.requests) == 1)
            await escalate(memory, clock, HEARER, other, request_id="r-2")
            await until(lambda: len(alive.requests) == 2)
            ended.set()
            await flows[1]
            assert not flows[0].done()
            hung.set()
            await flows[0]
    assert tellers[0].heard == [(Delivery.DELIVERED, "")]
    assert "Interlock-Signature" not in alive.requests[0].headers


async def test_what_nobody_takes_is_given_up(memory: AnyStore) -> None:
    """After three days an announcement is given up, which is told, and nothing is left of it."""
    clock = SettableClock()
    await escalate(memory, clock, HEARER)
    async with web_service(answer_500) as service, a_teller(memory, service.port, clock) as teller:
        clock.move(GIVE_UP - timedelta(seconds=1))
        assert await teller.tell() == 1
        clock.move(DELAY)
        assert await teller.tell() == 1
        clock.move(GIVE_UP)
        assert await teller.tell() == 0
    assert [delivery for delivery, _ in teller.heard] == [Delivery.PUT_OFF, Delivery.GIVEN_UP]


@pytest.mark.parametrize("form", ["generic", "slack"])
async def test_arguments_are_told_only_where_that_is_set(memory: AnyStore, form: Form) -> None:
    """Arguments are sent only where the settings say so, and as on record; secrets and the goal never (case 63)."""
    clock = SettableClock()
    await escalate(memory, clock, HEARER)
    async with web_service(taken) as service, a_teller(memory, service.port, clock) as teller:
        teller.form = form
        await teller.tell()
        await escalate(memory, clock, HEARER, request_id="r-2")
        teller.include_arguments = True
        await teller.tell()
    without, with_them = (body.decode() for body in service.bodies)
    assert "/srv/" not in without
    assert "/srv/r-2" in with_them
    assert "concealed" in with_them
    for word in ("a secret of the agent's", "the agent's own words", SECRET.decode()):
        assert word not in without + with_them


async def test_the_calls_of_a_plan_are_told_step_by_step(memory: AnyStore) -> None:
    """Of a plan the arguments of each step are told, where arguments are told at all."""
    clock = SettableClock()
    await escalate(memory, clock, HEARER, asked=a_plan(a_step("first"), a_step("then", ["first"])))
    async with web_service(taken) as service, a_teller(memory, service.port, clock) as teller:
        teller.include_arguments = True
        await teller.tell()
    told = json.loads(service.bodies[0])
    assert told["approval"]["tool"] == "plan of 2 steps"
    assert told["calls"] == [
        {"step_id": "first", "tool": "git_log", "proposed_arguments": {"repo_path": "first"}},
        {"step_id": "then", "tool": "git_log", "proposed_arguments": {"repo_path": "then"}},
    ]


async def test_few_are_under_way_at_once(memory: AnyStore) -> None:
    """However many are due, only a few are under way to one webhook, and all arrive."""
    clock, free = SettableClock(), asyncio.Event()

    async def hold(_: web.Request) -> web.Response:
        await free.wait()
        return web.Response()

    for number in range(AT_ONCE + 2):
        await escalate(memory, clock, HEARER, request_id=f"r-{number}")
    async with web_service(hold) as service, a_teller(memory, service.port, clock) as teller:
        first = asyncio.create_task(teller.tell())
        await until(lambda: len(service.requests) == AT_ONCE)
        free.set()
        assert await first == AT_ONCE
        assert len(service.requests) == AT_ONCE
        assert await teller.tell() == 2
    assert len(set(deliveries(service))) == AT_ONCE + 2


async def test_a_certificate_that_proves_nothing_is_told_nothing(memory: AnyStore, tmp_path: Path) -> None:
    """Nothing is sent to an endpoint whose certificate no authority of the system stands for."""
    clock = SettableClock()
    await escalate(memory, clock, HEARER)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*a_certificate_of("127.0.0.1", tmp_path))
    async with web_service(taken, tls) as service:
        endpoint = Endpoint(url=f"https://127.0.0.1:{service.port}/", secrets=(SECRET,))
        async with http_webhooks({HEARER.name: endpoint}, clock) as sender:
            teller = Teller(store=memory, sender=sender, clock=clock)
            await teller.tell()
    assert teller.heard == [(Delivery.PUT_OFF, "ConnectError")]
    assert service.requests == []


async def test_a_store_that_is_away_is_asked_again(memory: AnyStore) -> None:
    """Where the store is away nothing is sent, and all is sent once it is back."""
    clock, ended = SettableClock(), asyncio.Event()
    await escalate(memory, clock, HEARER)
    state = memory.state
    async with web_service(taken) as service, a_teller(memory, service.port, clock) as teller:
        waited: list[int] = []

        def back(failures: int) -> float:
            waited.append(failures)
            state.away = False  # type: ignore[union-attr]  # the store in memory has it
            return 0.0

        state.away = True  # type: ignore[union-attr]  # as above
        flow = asyncio.create_task(
            announce_until(ended, replace(teller.announcing, delays=back), every_seconds=0.001)
        )
        await until(lambda: bool(teller.heard))
        ended.set()
        await flow
    assert waited == [0]
    assert len(service.requests) == 1


async def test_a_service_that_ends_waits_for_no_dead_webhook(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """At the end a service gives what is under way a bounded time, cuts it off, and leaves it to the next one."""
    clock, dead = SettableClock(), asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        dead.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with Place("sqlite", tmp_path / "store.db", request).open() as store, web_service(hang) as service:
        assert isinstance(store.log, SqliteDecisionLog)
        assert isinstance(store.state, SqliteSessionState)
        parts = Store(
            log=store.log,
            state=store.state,
            credentials=MemoryCredentials(),
            activate=lambda _: asyncio.sleep(0),
        )
        webhook = WebhookSettings(name=HEARER.name, url=f"http://127.0.0.1:{service.port}/", form="slack")
        await escalate(store, clock, *hearers([webhook]))
        async with telling([webhook], parts, clock, PrometheusMeter(), end_seconds=0.01):
            await until(dead.is_set)
        line = await store.state.page(outbox(HEARER.name), limit=1)
        assert len(line) == 1


async def test_a_defect_is_noted_and_ends_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What a defect breaks is in the log, and webhooks are told all the same."""
    clock = SettableClock()
    async with Place("sqlite", tmp_path / "store.db", request).open() as store, web_service(taken) as service:
        await escalate(store, clock, HEARER)
        async with a_teller(store, service.port, clock) as teller:
            ended = asyncio.Event()
            with structlog.testing.capture_logs() as logged:
                telling_on = replace(teller.announcing, clock=BreakingClock(clock))
                flow = asyncio.create_task(tell_until(ended, telling_on, again_seconds=0.0))
                await until(lambda: bool(teller.heard))
                ended.set()
                await flow
    assert [line["event"] for line in logged] == ["internal_error"]
    assert len(service.requests) == 1
