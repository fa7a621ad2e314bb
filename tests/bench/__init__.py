"""What the floor costs, each figure beside a peer in the same run."""
