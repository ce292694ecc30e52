"""`python -m open_tunit`: the `tunit` command."""

import sys

from open_tunit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
