"""From a sweep to its points, what they share, what they cost, and what must be there."""
