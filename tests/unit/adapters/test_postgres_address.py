"""The URL of a PostgreSQL is read strictly, and nothing of a password is told, however it is mistyped."""

from pathlib import Path

import pytest

from interlock.adapters.postgres_address import PostgresAddress, parse_address

SECRET = "hunter2"

GOOD = {
    "postgresql://user@db.example.com/name": PostgresAddress(
        hosts=(("db.example.com", 5432),), database="name", user="user"
    ),
    f"postgres://u:{SECRET}@127.0.0.1:6543/n": PostgresAddress(
        hosts=(("127.0.0.1", 6543),), database="n", user="u", password=SECRET
    ),
    "postgresql://u%20d:p%2F%40%3A%3F%23@[::1]:1/n%20m": PostgresAddress(
        hosts=(("::1", 1),), database="n m", user="u d", password="p/@:?#"
    ),
    "postgresql://u@/n?host=/run/postgresql": PostgresAddress(
        hosts=(("/run/postgresql", 5432),), database="n", user="u"
    ),
    "postgresql://u@/n?host=/run/postgresql&port=7": PostgresAddress(
        hosts=(("/run/postgresql", 7),), database="n", user="u"
    ),
    "postgresql://u@one,two:7/n?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem": PostgresAddress(
        hosts=(("one", 5432), ("two", 7)),
        database="n",
        user="u",
        tls=True,
        root_certificate=Path("/ca.pem"),
        certificate=Path("/c.pem"),
        private_key=Path("/k.pem"),
    ),
    "postgresql://u@localhost/n?sslmode=disable": PostgresAddress(
        hosts=(("localhost", 5432),), database="n", user="u"
    ),
}

WRONG = [
    "",
    "interlock.db",
    f"mysql://u:{SECRET}@h/n",
    f"postgresql:u:{SECRET}@h/n",
    f"postgresql://u:{SECRET}@/n",
    f"postgresql://u:{SECRET}@h/",
    f"postgresql://u:{SECRET}@h",
    f"postgresql://:{SECRET}@h/n",
    f"postgresql://h/n?user=u&password={SECRET}",
    f"postgresql://u@h/n?password={SECRET}",
    f"postgresql://u@h/n?{SECRET}",
    f"postgresql://u@h/n?{SECRET}={SECRET}",
    f"postgresql://u:{SECRET}@h/n?synchronous_commit=off",
    f"postgresql://u:{SECRET}@h/n?sslmode=require",
    f"postgresql://u:{SECRET}@h/n?sslmode={SECRET}",
    f"postgresql://u:{SECRET}@h/n?host=/run/postgresql",
    f"postgresql://u:{SECRET}@h/n?sslrootcert={SECRET}",
    f"postgresql://u:{SECRET}@h/n#fragment",
    f"postgresql://u:{SECRET}@h:0/n",
    f"postgresql://u:{SECRET}@h:65536/n",
    f"postgresql://u:{SECRET}@h:/n",
    f"postgresql://u:{SECRET}@h,/n",
    f"postgresql://u:{SECRET}@[::1/n",
    f"postgresql://u:{SECRET}@h h/n",
    f"postgresql://u:{SECRET}@h/n/m",
    f"postgresql://u:a/{SECRET}@h/n",
    f"postgresql://u:1/{SECRET}@h/n",
    f"postgresql://u:1?{SECRET}@h/n",
    f"postgresql://u:1?a={SECRET}@h/n",
    f"postgresql://u:1#{SECRET}@h/n",
    f"postgresql://u:[{SECRET}@h/n",
    f"postgresql://u:\N{FULLWIDTH SOLIDUS}{SECRET}@h/n",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_url_names_a_database(url: str) -> None:
    """Each form that is documented is read as it says."""
    assert parse_address(url) == GOOD[url]


@pytest.mark.parametrize("url", WRONG)
def test_a_url_that_could_be_misread_is_refused_without_a_word_of_it(url: str) -> None:
    """What is not of that form is refused, and the error quotes no part of it (cases 62 and 63)."""
    with pytest.raises(ValueError, match=r"^(is|must|knows|takes) ") as raised:
        parse_address(url)
    errors = [raised.value, raised.value.__cause__]
    assert not any(SECRET in f"{error!r}" for error in errors)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"postgresql://u:{SECRET}@h/n?sslmode=verify-full", "postgresql://u@h:5432/n"),
        (f"postgresql://u:{SECRET}@[::1]:7,two/n", "postgresql://u@[::1]:7,two:5432/n"),
        ("postgresql://u@/n?host=/run", "postgresql://u@/run:5432/n"),
    ],
)
def test_an_address_is_told_without_its_password(url: str, text: str) -> None:
    """Where a database is can be logged and shown (case 63)."""
    address = parse_address(url)
    assert str(address) == text
    assert SECRET not in repr(address)
