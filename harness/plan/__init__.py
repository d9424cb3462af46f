"""What would run: points of the matrix, servers, requests, limits, and what is expected of them."""
