"""The command line: commands, flags and the terminal.

May import everything, but imports JAX, NumPy and pydantic only when a command needs
them.
"""
