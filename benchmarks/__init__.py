"""Speed and memory against plain references, as ratios within one run: `python -m headprune_core bench`."""
