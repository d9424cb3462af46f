"""Other hosts: what can be done on one, and which there are."""
