"""The files that `gradscope init` writes, one for each framework."""
