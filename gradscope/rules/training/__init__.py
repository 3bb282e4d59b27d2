"""Rules on what the first steps of a training do."""
