"""gRPC and HTTP: servicers, wire forms, statuses."""
