"""`python -m graphrack`."""

from graphrack.cli import main

main()
