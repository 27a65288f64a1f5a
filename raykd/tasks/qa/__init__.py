"""Task `qa`: extractive question answering across languages."""
