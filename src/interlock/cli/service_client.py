"""A client for the verbs that call a service; what goes wrong is told, with what to do about it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from interlock.cli.options import read_secret
from interlock.cli.output import fail
from interlock.client import Interlock, InterlockCallError


@contextlib.contextmanager
def service_client(
    address: str, *, credential_file: Path | None, ca_file: Path | None, session: str | None = None
) -> Iterator[Interlock]:
    """A client of the decision service with the credential of the file or the environment."""
    credential = read_secret(
        credential_file, name="credential", environment=os.environ.get("INTERLOCK_CREDENTIAL")
    )
    with (
        telling_why(),
        Interlock(address, credential=credential, ca_file=ca_file, session_id=session) as interlock,
    ):
        yield interlock


@contextlib.contextmanager
def telling_why() -> Iterator[None]:
    """End with status 1 where a call gave no answer, or could not be made, and say why."""
    try:
        yield
    except InterlockCallError as error:
        fail(error.diagnostics())
    except (ValueError, TypeError, OSError) as error:
        fail(error)
