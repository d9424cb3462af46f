"""Images of engines: what they are made from, how they are built, and whether they come out the same again."""
