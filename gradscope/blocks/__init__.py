"""A program as runs of equations, each distinct one compiled once.

A network is one block repeated, and XLA's compile time grows faster than the length of a program.
"""
