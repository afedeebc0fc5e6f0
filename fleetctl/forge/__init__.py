"""The few words that fleetctl has with GitHub: one comment on a pull request, one issue about the fleet."""
