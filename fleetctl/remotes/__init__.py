"""Places that keep artifacts for several machines: a folder, or a repository of an OCI registry."""
