"""ports.Freezes: what a gateway last heard of freezes from the decision service.

Whatever it hears makes it refuse, and nothing makes it act: a freeze that it once heard of stops the tokens of before
it, also where a later answer says nothing of it, and where it hears nothing it stops all (invariant 1).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import structlog

from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.freeze import Freeze
from interlock.core.token import Claims
from interlock.ports import ControlService, ToolDrift

ASKED_EVERY_SECONDS = 0.5
PAUSE_SECONDS = 0.1
"""Between the end of a question that took longer and the next one."""

KNOWN_SECONDS = 2.0
"""So long after it was asked for, an answer counts. A freeze is in force at every gateway after this time."""

REMEMBERED_SECONDS = 300.0
"""So long after it was last heard of, a freeze counts: longer than any token of before it could."""

REFUSED = frozenset(
    {ErrorReason.CREDENTIAL_MISSING, ErrorReason.CREDENTIAL_INVALID, ErrorReason.CALLER_NOT_PERMITTED}
)

logger = structlog.get_logger()


class FreezeWatch:
    """Asks the decision service again and again; knows nothing once it has heard nothing for two seconds."""

    def __init__(
        self,
        service: ControlService,
        *,
        obligations: Sequence[str],
        drifted: Callable[[], Sequence[ToolDrift]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`obligations` and `drifted` are what the gateway says of itself; `monotonic` gives seconds."""
        self._service = service
        self._obligations = obligations
        self._drifted = drifted
        self._monotonic = monotonic
        self._freezes: dict[int, tuple[Freeze, float]] = {}
        self._known_until = -1.0
        self._trouble: ErrorReason | None = None

    @property
    def known(self) -> bool:
        """Whether it heard lately enough what is frozen."""
        return self._monotonic() < self._known_until

    def check(self, claims: Claims) -> None:
        """As ports.Freezes; TOKEN_FROZEN also where nothing was heard since."""
        for freeze, _ in self._freezes.values():
            if freeze.stops(claims):
                raise InterlockError(
                    reason=ErrorReason.TOKEN_FROZEN,
                    message=f"the token was issued before the freeze of record `{freeze.log_index}`, which covers it",
                    metadata={"freeze": str(freeze.log_index)},
                )
        if not self.known:
            raise InterlockError(
                reason=ErrorReason.FREEZES_UNKNOWN,
                message="the gateway has not heard from the decision service what is frozen",
                retry_after=1.0,
            )

    async def run(self) -> NoReturn:
        """Ask until cancelled."""
        while True:
            asked = self._monotonic()
            await self.ask()
            took = self._monotonic() - asked
            await asyncio.sleep(max(PAUSE_SECONDS, ASKED_EVERY_SECONDS - took))

    async def ask(self) -> None:
        """Ask once, and note the answer as what was known when it was asked for."""
        asked = self._monotonic()
        try:
            freezes = await self._service.attend(self._obligations, self._drifted())
        except InterlockError as error:
            self._note_trouble(error)
        except Exception as error:
            # Who asks no more knows nothing any more: it has to go on, and to say so.
            logger.error("freezes_not_asked_for", exc_info=error)
        else:
            self._note(freezes, asked)

    def _note(self, freezes: Sequence[Freeze], asked: float) -> None:
        remembered = {
            name: (freeze, heard)
            for name, (freeze, heard) in self._freezes.items()
            if asked < heard + REMEMBERED_SECONDS
        }
        self._freezes = remembered | {freeze.log_index: (freeze, asked) for freeze in freezes}
        self._known_until = asked + KNOWN_SECONDS
        if self._trouble is not None:
            logger.warning("freezes_known_again")
            self._trouble = None

    def _note_trouble(self, error: InterlockError) -> None:
        """Said once for each cause. A credential that is refused is the end of what was known."""
        if error.reason in REFUSED:
            self._known_until = -1.0
        if error.reason is not self._trouble:
            logger.error("freezes_not_heard", reason=error.reason.value, message=error.message)
            self._trouble = error.reason
