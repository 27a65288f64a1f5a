"""What a sweep file is made of: sections, keys and their checks, whatever the task."""
