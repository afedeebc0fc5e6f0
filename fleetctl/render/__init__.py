"""From a board and its artifact to the files of its release, through sandboxed templates."""
