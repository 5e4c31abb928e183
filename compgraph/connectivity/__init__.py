"""The three kinds of connectivity: structural (weights), functional (co-variation), effective (causes)."""
