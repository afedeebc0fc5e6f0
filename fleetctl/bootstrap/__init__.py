"""From a fresh board with ssh and Python to one that can take releases."""
