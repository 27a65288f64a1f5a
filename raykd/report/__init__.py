"""What a sweep showed, read from its records alone."""
