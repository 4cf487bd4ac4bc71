"""`python -m airtunnel`."""

from airtunnel.cli.main import main

main()
