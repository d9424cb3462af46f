"""Two builds of an engine side by side: started in turns, asked the same, and compared item by item."""
