"""What a change of the fleet's repository would do: held against a commit, without asking a board."""
