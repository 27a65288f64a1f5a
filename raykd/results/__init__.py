"""What a sweep writes: artifacts, journal, signals, lease; and how it is read again."""
