"""What the files of a card are called."""

CARD = "card.md"
CONFUSION = "confusion.png"
RELIABILITY = "reliability.png"
