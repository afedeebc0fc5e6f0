"""Virtual boards on this machine, for demos, tests and policies tried out before real boards see them."""
