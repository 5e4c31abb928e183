"""What a study puts circuits, blocks and regions to: one file a method, from what it reads to tables and a verdict."""
