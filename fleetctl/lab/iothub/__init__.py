"""A hub on loopback that the official Azure IoT SDKs take for Azure's: what it keeps, serves and refuses."""
