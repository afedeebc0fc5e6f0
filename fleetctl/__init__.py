"""Git says what each board should run; a board runs it only once it has proved it."""

__version__ = "0.1.0"
