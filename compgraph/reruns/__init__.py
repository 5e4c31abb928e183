"""Which results of a study are to be made, and why: its config and code against what the manifests say."""
