"""What a terminal is given to print: text, and nothing that it would obey."""

WIDE = 1000  # columns, where it is no terminal: whoever reads it then is a program


def plain(text: str) -> str:
    """*text* without control characters, which could move a cursor or hide what stands there."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
