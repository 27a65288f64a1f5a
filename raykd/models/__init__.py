"""Models: loading backbones with a head for the task, and shrinking a student out of its teacher."""
