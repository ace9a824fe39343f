"""Where people look: scalars, pictures, cards and warnings. The only room that knows loggers."""
