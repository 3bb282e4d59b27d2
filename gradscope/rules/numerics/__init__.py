"""Numbers that are no longer numbers."""
