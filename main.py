"""`python main.py fit|validate|test|predict|data|report ...` in a clone, installed or not: the same as `ivif ...`."""

import sys

from ivif.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
