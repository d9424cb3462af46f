"""The bottom of the house: time, errors, secrets, texts, and the types that everybody speaks in."""
