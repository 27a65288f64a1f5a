"""A point on one rank: context, models, loop, engine, hand-off, checkpoints, heartbeat, lineage."""
