"""Published models whose weights a package on the index carries: which there are, and checkpoints made of them."""
