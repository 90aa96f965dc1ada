"""What is compared: the rows of the table, and the targets between them."""

from dataclasses import dataclass

from measure import BATCH, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row. `server` names the server that is asked."""

    key: str
    title: str
    server: str
    kind: Kind
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Decisions a second of one row over those of another, compared within each round."""

    row: str
    over: str
    at_least: float


VARIANTS = (
    Variant(key="a1", title="(a) OPA's REST API", server="opa", kind="opa", in_flight=1),
    Variant(key="a64", title="(a) OPA's REST API", server="opa", kind="opa", in_flight=64),
    Variant(key="b1", title="(b) bare gRPC echo server", server="echo", kind="decide", in_flight=1),
    Variant(key="b64", title="(b) bare gRPC echo server", server="echo", kind="decide", in_flight=64),
    Variant(key="c1", title="(c) Decide", server="service", kind="decide", in_flight=1),
    Variant(key="c64", title="(c) Decide", server="service", kind="decide", in_flight=64),
    Variant(key="d4", title=f"(d) DecideBatch of {BATCH}", server="service", kind="batch", in_flight=4),
)
TARGETS = (Target(row="c64", over="b64", at_least=0.6), Target(row="d4", over="a64", at_least=1.5))

MEMORY_AT_MOST_MIB = 150.0
GROWTH_AT_MOST_MIB = 5.0
"""Between a tenth of the soak and its end; more than this is not flat."""
