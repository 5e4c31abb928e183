"""Running a network with parts replaced: node ablation and edge ablation."""
