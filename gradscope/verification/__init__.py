"""Are the gradients right: differences, custom rules, the dot-product test."""
