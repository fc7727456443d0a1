"""Launchers: who starts the workers of a sweep, one module each."""
