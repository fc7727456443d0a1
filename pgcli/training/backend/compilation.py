"""Compiler options by how often a program runs."""

from pgcli.versions import compiler_options

RUN_ONCE = compiler_options(xla_backend_optimization_level=0)
"""Options of programs that run once; they halve the time of compilation."""

RUN_SELDOM = compiler_options(xla_backend_optimization_level=1)
"""Options of programs that run rarely; they save a quarter of the time."""

RUN_OFTEN = compiler_options(xla_cpu_prefer_vector_width=512)
"""Options of training programs.

XLA prefers vectors of 256 bits. On a CPU with 512, these shorten an iteration by a
tenth; elsewhere the option has no effect. Sums of floats round differently.
"""
