"""Two runs: what changed. Pure."""
