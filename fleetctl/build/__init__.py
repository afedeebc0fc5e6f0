"""From recipes to locked artifacts: what changed is built, judged by its gates, and written to the lock."""
