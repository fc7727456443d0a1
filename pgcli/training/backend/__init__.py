"""What a run is computed on: accelerator, layout over devices, shardings.

The first touch of a device is here. May import `pgcli.training` and what that may
import.
"""
