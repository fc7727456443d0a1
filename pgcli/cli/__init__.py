"""The command line: commands, flags and the terminal.

May import everything, but nothing heavy (JAX, NumPy, pydantic) until a command needs
it.
"""
