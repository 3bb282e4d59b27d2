"""What the devices of a mesh do differently although they should not."""
