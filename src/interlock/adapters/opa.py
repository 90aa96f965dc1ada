"""The policy engine: one OPA, asked in batches; every unclear answer is an error (invariant 1)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import aiohttp
import orjson
from yarl import URL

from interlock.adapters.opa_answer import (
    conclude,
    late,
    malformed,
    not_evaluated,
    read_offered,
    read_result,
    read_terms,
    unavailable,
)
from interlock.adapters.opa_client import OpaAddress, OpaClient
from interlock.core.approval_answer import ApprovalPolicyInput, ApprovalTerms
from interlock.core.decision import Evaluated
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.policy_input import PolicyInput

__all__ = ["OpaAddress", "OpaEngine"]

ALONE_AT_ONCE = 8
"""How many proposals of a batch that failed are evaluated at the same time, each alone."""

BATCH_SHARE = 0.5
"""Of the limit, what the query for a batch may take; the rest is left for each alone."""

# Failures of the whole engine: evaluating each proposal alone would meet the same one again.
_OF_THE_ENGINE = {ErrorReason.POLICY_ENGINE_UNAVAILABLE, ErrorReason.POLICY_NOT_READY}

Answer = Evaluated | InterlockError

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class _EntryPoint(Generic[Read]):
    """Where the policy is asked: with one document, and with a batch; `read` takes a result and its revision."""

    one: URL
    batch: URL
    read: Callable[[object, str], Read | InterlockError]


class OpaEngine:
    """ports.PolicyEngine over one OPA. `expected_revision` tells the revision that must have answered."""

    def __init__(
        self, address: OpaAddress, *, expected_revision: Callable[[], str], limit_seconds: float
    ) -> None:
        """`limit_seconds` bounds each evaluation, also where the caller would wait longer."""
        self._client = OpaClient(address)
        self._decisions = self._entry_point("interlock/decision", conclude)
        self._approvals = self._entry_point("interlock/approval", read_terms)
        self._offered = self._client.query_url("interlock/decision/offered")
        self._expected_revision = expected_revision
        self._limit = limit_seconds

    async def __aenter__(self) -> Self:
        await self._client._init_session()  # noqa: SLF001 - the library's only way to open without `async with`
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close_connection()

    async def evaluate(self, inputs: Sequence[PolicyInput], *, limit_seconds: float) -> list[Answer]:
        """One query for the batch; where that gives no clear answer, one query for each alone."""
        return await self._ask(self._decisions, inputs, limit_seconds)

    async def offered(self, inputs: Sequence[PolicyInput], *, limit_seconds: float) -> list[bool]:
        """One query for all of them. Raises InterlockError for anything but one boolean for each."""
        ends = asyncio.get_running_loop().time() + min(limit_seconds, self._limit)
        answers = await self._query(self._offered, {"batch": inputs}, self._expected_revision(), ends)
        return read_offered(answers, len(inputs))

    async def approval(
        self, inputs: Sequence[ApprovalPolicyInput], *, limit_seconds: float
    ) -> list[ApprovalTerms | InterlockError]:
        """As decisions are asked for: one approval that the policy fails on spoils none of the others."""
        return await self._ask(self._approvals, inputs, limit_seconds)

    @property
    def revision(self) -> str:
        """Revision of the bundle that must answer now."""
        return self._expected_revision()

    async def ready(self) -> bool:
        """Whether the expected revision answers."""
        ends = asyncio.get_running_loop().time() + self._limit
        try:
            await self._query(self._decisions.one, {}, self._expected_revision(), ends)
        except InterlockError:
            return False
        return True

    def _entry_point(
        self, package: str, read: Callable[[object, str], Read | InterlockError]
    ) -> _EntryPoint[Read]:
        one, batch = self._client.query_url(f"{package}/result"), self._client.query_url(f"{package}/batch")
        return _EntryPoint(one=one, batch=batch, read=read)

    async def _ask(
        self, asked: _EntryPoint[Read], documents: Sequence[Mapping[str, Any]], limit_seconds: float
    ) -> list[Read | InterlockError]:
        begins = asyncio.get_running_loop().time()
        limit = min(limit_seconds, self._limit)
        if len(documents) == 1:
            return [await self._ask_alone(asked, documents[0], begins + limit)]
        try:
            return await self._ask_batch(asked, documents, begins + limit * BATCH_SHARE)
        except InterlockError as error:
            if error.reason in _OF_THE_ENGINE:
                return [error] * len(documents)
        return await self._ask_each(asked, documents, begins + limit)

    async def _ask_batch(
        self, asked: _EntryPoint[Read], documents: Sequence[Mapping[str, Any]], ends: float
    ) -> list[Read | InterlockError]:
        """Raises InterlockError: there is not one result for each document."""
        revision = self._expected_revision()
        results = await self._query(asked.batch, {"batch": documents}, revision, ends)
        if not isinstance(results, list) or len(results) != len(documents):
            raise malformed("the policy does not give one result for each input")
        return [asked.read(result, revision) for result in results]

    async def _ask_each(
        self, asked: _EntryPoint[Read], documents: Sequence[Mapping[str, Any]], ends: float
    ) -> list[Read | InterlockError]:
        gate = asyncio.Semaphore(ALONE_AT_ONCE)

        async def ask(document: Mapping[str, Any]) -> Read | InterlockError:
            async with gate:
                return await self._ask_alone(asked, document, ends)

        return list(await asyncio.gather(*map(ask, documents)))

    async def _ask_alone(
        self, asked: _EntryPoint[Read], document: Mapping[str, Any], ends: float
    ) -> Read | InterlockError:
        revision = self._expected_revision()
        try:
            return asked.read(await self._query(asked.one, document, revision, ends), revision)
        except InterlockError as error:
            return error

    async def _query(self, url: URL, document: Mapping[str, Any], revision: str, ends: float) -> object:
        """What the policy gave. Raises InterlockError for anything but one clear result."""
        if asyncio.get_running_loop().time() >= ends:
            raise late()
        try:
            # What OPA gets is only ever what we wrote: it would take bytes after a first value (case 7).
            body = orjson.dumps({"input": document})
        except orjson.JSONEncodeError as error:
            raise not_evaluated("the input cannot be written as JSON") from error
        try:
            status, answer = await self._client.query(url, body, ends=ends)
        except TimeoutError as error:
            raise late() from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise unavailable("the policy engine cannot be reached") from error
        return read_result(status, answer, revision)
