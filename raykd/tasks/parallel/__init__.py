"""Task `parallel`: multi-level distillation on parallel text."""
