"""Whether an output depends on what it must not see: found by changing that and running the program again."""
