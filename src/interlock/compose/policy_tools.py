"""What a policy author does before a policy decides anything."""

from pathlib import Path

from interlock.adapters import policy_check, policy_testing
from interlock.adapters.policy_bundle import PolicyBundle, build_bundle, open_signing_key
from interlock.adapters.policy_check import Finding
from interlock.adapters.policy_rules import read_modules
from interlock.adapters.policy_testing import PolicyTestRun
from interlock.compose.opa import locate_opa


def check(policies: Path) -> list[Finding]:
    """What is wrong with the policies; empty when nothing is. Raises OpaError, PolicyBundleError."""
    return policy_check.check_policies(locate_opa(), policies)


def test(policies: Path, tests: Path) -> PolicyTestRun:
    """How their tests go. Raises OpaError."""
    return policy_testing.run_policy_tests(locate_opa(), policies, tests)


def build(policies: Path, output: Path, key_folder: Path) -> tuple[PolicyBundle, Path]:
    """A signed bundle, and the public key that it verifies with. Raises PolicyBundleError, OpaError."""
    key = open_signing_key(key_folder)
    return build_bundle(locate_opa(), policies, output, key), key.public


def changes(policies: Path) -> dict[str, dict[str, str]]:
    """Changes of data that rules name in their METADATA, by reason code, then `always_approved` or `always_denied`.

    Raises OpaError, PolicyBundleError.
    """
    modules = read_modules(locate_opa(), policies)
    return {rule.code: dict(rule.changes) for module in modules for rule in module.rules if rule.changes}
