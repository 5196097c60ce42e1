"""`medclipsam archive`: its command line, apart from the room that does the work."""
