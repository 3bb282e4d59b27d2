"""Remedies: edits of the user's source that may cure what was found, and what a trial of each says."""
