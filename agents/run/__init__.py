"""A run on disk: configuration, folder, curves, training by self-play, the command line."""
