"""How δ travels from the loss back to the first layer and to the first step."""
