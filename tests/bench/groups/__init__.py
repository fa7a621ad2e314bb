"""The groups of the bench: each measures one thing beside its peers."""
