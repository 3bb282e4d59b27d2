"""The shape of the loss around the parameters: its Hessian by products with vectors, and lines through it."""
