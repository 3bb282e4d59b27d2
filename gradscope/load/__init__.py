"""A user's file, data and checkpoint become a `Problem`."""
