"""Several processes that train one run: what they agree on, and each one's share of a batch."""
