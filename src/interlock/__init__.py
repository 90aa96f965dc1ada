"""Interlock: a policy-as-code control plane between AI agents and the infrastructure that they act on."""
