"""One file for each kind of primitive that carries a jaxpr; `contract.py` says what such a file has."""
