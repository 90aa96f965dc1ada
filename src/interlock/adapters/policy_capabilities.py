"""What a policy may call: a pure function of its input and data, and nothing else (invariant 7, case 13)."""

import json
from pathlib import Path
from typing import Any

from interlock.adapters.opa_binary import OpaError, run_opa

EXCLUDED_BUILTINS = frozenset(
    {
        # Reach out of the process: requests, name lookups, the environment and configuration of OPA.
        "http.send",
        "net.lookup_ip_addr",
        "opa.runtime",
        # May fetch a schema that `$ref` names.
        "json.match_schema",
        "json.verify_schema",
        # Clock and chance; time is in the input.
        "time.now_ns",
        "rand.intn",
        "uuid.rfc4122",
        "io.jwt.decode_verify",
        "io.jwt.encode_sign",
        "io.jwt.encode_sign_raw",
        # Read the clock when no time is given, though OPA does not mark them so.
        "crypto.x509.parse_and_verify_certificates",
        "crypto.x509.parse_and_verify_certificates_with_options",
    }
)


def write_capabilities(opa: Path, folder: Path) -> Path:
    """Write the restricted capabilities of this `opa` to a file in `folder`, for its `--capabilities` flag.

    Raises OpaError.
    """
    run = run_opa(opa, "capabilities", "--current")
    if not run.succeeded:
        raise OpaError(f"`opa capabilities` failed: {run.errors}")
    path = folder / "capabilities.json"
    path.write_text(json.dumps(restrict(json.loads(run.output))))
    return path


def restrict(capabilities: dict[str, Any]) -> dict[str, Any]:
    """Capabilities without what is excluded, and without what OPA itself marks as not deterministic."""
    allowed = [
        builtin
        for builtin in capabilities["builtins"]
        if builtin["name"] not in EXCLUDED_BUILTINS and not builtin.get("nondeterministic", False)
    ]
    return {**capabilities, "builtins": allowed, "allow_net": []}
