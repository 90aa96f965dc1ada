"""The `interlock` command."""

import os

# Read by grpc when it is imported: its handlers of fork(2) are of no use to us, and warn about each child.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
