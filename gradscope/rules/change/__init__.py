"""What changed since a baseline was written."""
