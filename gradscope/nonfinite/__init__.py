"""Finds the origin of a NaN or an infinity: the program and its derivative run equation by equation.

Runs only where the loss or a gradient is not finite. A non-finite result is attributed by experiment: the
equation runs again with the non-finite elements of its operands replaced by finite ones.
"""
