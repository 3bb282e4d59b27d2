"""Batches: from the file, from a loader, or from data files."""
