"""raykd: knowledge distillation of multilingual models over generations, on a Ray cluster."""

__version__ = "0.1.0"
