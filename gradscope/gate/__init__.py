"""When CI fails: the policy, votes over seeds, the baseline, and the exit code. Pure."""
