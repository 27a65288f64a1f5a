"""Task `tagging`: sequence labelling."""
