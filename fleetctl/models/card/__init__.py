"""The model card: what a built model learnt, how well it does and where it fails, from measurements."""
