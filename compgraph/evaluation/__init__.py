"""How well a circuit stands for the network."""
