"""The PostgreSQL of the tests, which serves the benchmark too."""

import sys

from servers import PROJECT

sys.path.append(str(PROJECT))

from tests.contract.postgres import PostgresServer, find_programs

__all__ = ["PostgresServer", "find_programs"]
