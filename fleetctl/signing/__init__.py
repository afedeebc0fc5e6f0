"""Releases that boards can check the origin of: keys, statements, and who trusts whom."""
