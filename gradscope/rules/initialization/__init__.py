"""Rules about the weights as they are before the first step."""
