"""What a machine, its cluster and a sweep file need to work together, and what to do where something is missing.

A check is a function that yields findings. It runs in a process of its own (`bounded`), so that nothing it waits for,
and nothing that ends it, keeps the others from being told.
"""
