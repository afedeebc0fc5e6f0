"""Rollouts: where one stands, what follows from what happens, and how it ended. No I/O, no clock."""
