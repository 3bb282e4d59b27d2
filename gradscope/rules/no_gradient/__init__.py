"""Parameters whose gradient is exactly zero, and why."""
