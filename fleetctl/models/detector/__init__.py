"""The sign detector: an SSD on MobileNet V1 that finds signs on a wall, and what it is learnt from."""
