"""Recordings of a training: an append-only file, and the history that it is thinned to."""
