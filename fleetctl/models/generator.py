"""Which drawings of signs these are. Part of every digest of data that are drawn; imports nothing."""

GENERATOR_VERSION = 1
"""Raised whenever the same parameters would draw other pixels."""
