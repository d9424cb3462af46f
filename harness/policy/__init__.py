"""Policy: what to serve, to ask and to conclude. Pure functions over data; no processes, sockets or files written."""
