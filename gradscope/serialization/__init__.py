"""Records as versioned JSON and back, its schema, and files that are written whole or not at all."""
