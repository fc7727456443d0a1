"""`python -m pgcli`."""

import sys

from pgcli.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
