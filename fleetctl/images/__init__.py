"""Container images of IoT Edge modules: what boards without a route to them are given to run."""
