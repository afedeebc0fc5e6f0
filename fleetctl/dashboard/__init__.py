"""The live page: a small server on loopback that shows the fleet, and changes nothing."""
