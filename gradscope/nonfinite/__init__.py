"""Finds where a NaN or an infinity was born: the program and its derivative, run equation by equation.

Run only where the loss or a gradient is not finite. What is bad is traced to what made it bad by trying:
an equation is run again with the bad elements of its operands replaced by finite ones.
"""
