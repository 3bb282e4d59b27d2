"""What the outputs of layers look like where their activation function meets them."""
