"""Networks: one engine for transformers, one for chains (CNN, MLP), behind one interface."""
