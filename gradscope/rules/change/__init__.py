"""What changed since the baseline was written."""
