"""Numbers that are not finite, or may become so."""
