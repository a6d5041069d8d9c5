"""``python -m puckstream``: the same as the command ``puckstream``."""

import sys

from puckstream.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
