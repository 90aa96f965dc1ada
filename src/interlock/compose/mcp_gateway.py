"""Composition root of a gateway whose way in is MCP. It can neither decide nor sign (invariant 5)."""
