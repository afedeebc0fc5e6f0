"""`python -m fleetctl` is the same as `fleetctl`."""

from fleetctl.cli import run

if __name__ == "__main__":
    run()
