"""The first bad one of an ordered list of builds: which to start next, what is known by then, and how to go on."""
