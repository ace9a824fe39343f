"""Train the examples of `examples/libraries`, each in an environment of its own, watched and unwatched."""
