"""HTML of the fleet: one file to send, and the pages of the dashboard, from the same templates."""
