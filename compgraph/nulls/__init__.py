"""What null models of communities and of network statistics share: allowed pairs, swaps of edges, effects of nodes."""
