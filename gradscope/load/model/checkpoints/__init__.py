"""`--params`: parameters from a checkpoint in place of the initial ones. No pickle is read."""
