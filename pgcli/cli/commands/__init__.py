"""One thin file per command: flags in, a call below `pgcli.cli`, text or JSON out.

May import `pgcli.cli.options`, `pgcli.cli.terminal` and, inside functions, all below.
"""
