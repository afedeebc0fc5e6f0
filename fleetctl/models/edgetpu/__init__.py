"""What the Edge TPU makes of a model: predicted from its file, compiled by Google's compiler, read back."""
