"""Speed and memory compared with plain implementations, as ratios within one run: `headprune bench`."""
