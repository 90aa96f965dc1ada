"""What fulfils the ports: one outside thing a file."""
