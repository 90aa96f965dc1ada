"""A real PostgreSQL from Debian's package, on files of its own, that ends with the tests."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Self
from urllib.parse import quote

from interlock.adapters.postgres_address import PostgresAddress
from tests.contract.certificates import a_certificate_of
from tests.waiting import PATIENCE_SECONDS

OWNER = "interlock"
PASSWORD = "o'wner of all"  # what must be quoted, in SQL and in a URL
ADDRESS = "127.0.0.1"

_ADMINISTRATOR = "postgres"
_USERS = ("postgres", "nobody")
_CONFIGURATION = {
    "listen_addresses": ADDRESS,
    "fsync": "on",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "log_min_messages": "warning",
}


def find_programs() -> Path:
    """The folder of PostgreSQL's newest programs, as Debian installs them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        raise RuntimeError("the tests need PostgreSQL 15 or newer: `apt-get install postgresql`")
    return found[-1].parent


class PostgresServer:
    """A cluster in a temporary folder, on a free port of this machine. It never runs as root."""

    def __init__(self) -> None:
        self._programs = find_programs()
        self._user = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="interlock-postgres-"))
        self._give(self.folder)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._names = count(1)
        self._initialise()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def data(self) -> Path:
        """The folder of the cluster."""
        return self.folder / "data"

    @property
    def certificate(self) -> Path:
        """What the server's certificate is checked with, as PEM."""
        return self.folder / "certificate.pem"

    def address(self, database: str) -> PostgresAddress:
        """The database, as its owner, over TCP and with a password."""
        return PostgresAddress(
            hosts=((ADDRESS, self.port),), database=database, user=OWNER, password=PASSWORD
        )

    def url(self, database: str, *, password: str = PASSWORD) -> str:
        """The same as a setting names it."""
        return f"postgresql://{OWNER}:{quote(password, safe='')}@{ADDRESS}:{self.port}/{database}"

    def start(self, **settings: str) -> None:
        """Start it and wait until it answers. `settings` are for this start only."""
        options = [f"-c{name}={value}" for name, value in (_CONFIGURATION | settings).items()]
        command = ["setpriv", "--pdeathsig", "KILL", *self._as_user(), str(self._programs / "postgres")]
        command += [f"-D{self.data}", f"-k{self.folder}", f"-p{self.port}", *options]
        with (self.folder / "log").open("ab") as log:
            # The kernel ends it with us, also at kill -9 (prctl(2)).
            self._process = subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=log)
        ends = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it as an operator does who does not wait for clients. Again is allowed."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Let it end as at a loss of power, but for the disk. Again is allowed."""
        self._end(signal.SIGQUIT)

    def pause(self) -> None:
        """From now on nothing of it moves, until `go_on`."""
        for process_id in self._process_ids():
            os.kill(process_id, signal.SIGSTOP)

    def go_on(self) -> None:
        """Whatever stands still goes on."""
        for process_id in self._process_ids():
            os.kill(process_id, signal.SIGCONT)

    def new_database(self, *, template: str = "template0") -> str:
        """The name of a new database of the owner."""
        name = f"test_{next(self._names)}"
        self.run("createdb", f"--template={template}", f"--owner={OWNER}", name)
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is still connected."""
        self.run("dropdb", "--force", "--if-exists", database)

    def sql(self, database: str, *statements: str) -> str:
        """Run statements as the administrator, who may do everything; what they give, unadorned."""
        options = [option for statement in statements for option in ("--command", statement)]
        quiet = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        return self.run("psql", *quiet, f"--dbname={database}", *options).strip()

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as the administrator; what it prints."""
        connection = (f"--host={self.folder}", f"--port={self.port}", f"--username={_ADMINISTRATOR}")
        done = subprocess.run(
            [str(self._programs / program), *connection, *arguments],
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _initialise(self) -> None:
        command = ["setpriv", *self._as_user(), str(self._programs / "initdb"), f"-D{self.data}"]
        command += ["--no-sync", "--locale=C.UTF-8", "--encoding=UTF8", f"--username={_ADMINISTRATOR}"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL)
        for file in a_certificate_of(ADDRESS, self.folder):
            file.chmod(0o600)
            self._give(file)
        with (self.data / "postgresql.conf").open("a") as configuration:
            for name, file_name in (("ssl_cert_file", "certificate.pem"), ("ssl_key_file", "key.pem")):
                configuration.write(f"{name} = '{self.folder / file_name}'\n")
            configuration.write("ssl = on\n")
        self.start()
        quoted = PASSWORD.replace("'", "''")
        self.sql(_ADMINISTRATOR, f"CREATE ROLE {OWNER} LOGIN PASSWORD '{quoted}'")

    def _as_user(self) -> list[str]:
        if self._user is None:
            return []
        return [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _answers(self) -> bool:
        done = subprocess.run(
            [str(self._programs / "pg_isready"), f"--host={self.folder}", f"--port={self.port}"],
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode == 0

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self.go_on()
            self._process.send_signal(number)
            self._process.wait(PATIENCE_SECONDS)

    def _process_ids(self) -> list[int]:
        """The server's, and those of all that it has started."""
        assert self._process is not None
        own = self._process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom it runs as where we are root; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return next(known[name] for name in _USERS if name in known)


def _free_port() -> int:
    with socket.create_server((ADDRESS, 0)) as server:
        return int(server.getsockname()[1])
