"""Small models of our own in each framework, with what the framework itself says of them."""
