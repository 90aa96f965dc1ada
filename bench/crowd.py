"""Many agents, each with many sessions that go on at the same time: who asks for what next.

A session's number says its name and whose it is: an agent's follow one another. All of them are asked about in
turns, and nothing that is asked is like anything that was asked before.
"""

import functools
import itertools
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from credentials import agent, give_credentials, give_credentials_in
from measure import BATCH
from servers import Place

SESSIONS_OF_AGENT = 10
TENANT = "acme"
ROLE = "contributor"

MARKER = "seed" * 8
"""Stands in a template for 32 letters that differ in each request, as digits would not: calls that differ in
numbers and ids only are alike."""

SESSION_MARKER = "5e55" * 4
"""Stands in a template for the name of a session, of 16 hexadecimal digits."""

_LETTERS = bytes.maketrans(b"0123456789abcdef", b"abcdefghijklmnop")

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """So many live sessions, of the agents whose credentials are in the file, a JSON array."""

    sessions: int
    credentials: Path

    def read(self) -> list[Metadata]:
        """What each agent sends with a call."""
        return [
            (("authorization", f"Bearer {credential}"),)
            for credential in json.loads(self.credentials.read_bytes())
        ]


def gather(place: Place, sessions: int, *, store: str = "") -> Crowd:
    """A crowd with credentials in the store of a service that does not run yet: the place's, or PostgreSQL's."""
    agents = [agent(TENANT, agent_name(number), ROLE) for number in range(agents_of(sessions))]
    give = functools.partial(give_credentials_in, store) if store else give_credentials
    file = place.folder / "agents.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(give(place.settings, agents)))
    return Crowd(sessions=sessions, credentials=file)


def agents_of(sessions: int) -> int:
    """How many agents have so many sessions."""
    return -(-sessions // SESSIONS_OF_AGENT)


def agent_of(session: int) -> int:
    """Whose session it is."""
    return session // SESSIONS_OF_AGENT


def sessions_of(agent: int, sessions: int) -> range:
    """The agent's, of so many in all."""
    return range(agent * SESSIONS_OF_AGENT, min((agent + 1) * SESSIONS_OF_AGENT, sessions))


def agent_name(number: int) -> str:
    """Name of an agent."""
    return f"agent-{number}"


def session_name(number: int) -> str:
    """Name of a session, as long as its marker."""
    return f"{number:016x}"


def one_by_one(template: bytes, crowd: Crowd) -> Iterator[tuple[Metadata, bytes]]:
    """A request of each session, those of an agent as far apart as can be."""
    agents, requests = crowd.read(), unique(template)
    for place in itertools.cycle(range(SESSIONS_OF_AGENT)):
        for session in range(place, crowd.sessions, SESSIONS_OF_AGENT):
            yield agents[agent_of(session)], _of_session(next(requests), session)


def in_batches(template: bytes, crowd: Crowd) -> Iterator[tuple[Metadata, bytes]]:
    """Batches of entries, each of one agent, with its sessions in turns."""
    agents, requests = crowd.read(), unique(template)
    for number in itertools.cycle(range(len(agents))):
        own = itertools.cycle(sessions_of(number, crowd.sessions))
        sessions = itertools.islice(own, BATCH)
        yield agents[number], b"".join(_of_session(next(requests), session) for session in sessions)


def unique(template: bytes) -> Iterator[bytes]:
    """The template with other letters in each of its marked places."""
    marker = MARKER.encode()
    for number in itertools.count(secrets.randbits(120)):
        yield template.replace(marker, (b"%032x" % number).translate(_LETTERS))


def _of_session(request: bytes, number: int) -> bytes:
    return request.replace(SESSION_MARKER.encode(), session_name(number).encode())
