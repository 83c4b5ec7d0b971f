"""`python -m headprune_core`, the same as the console command `headprune`."""

import sys

from headprune_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
