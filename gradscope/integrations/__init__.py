"""gradscope inside other tools."""
