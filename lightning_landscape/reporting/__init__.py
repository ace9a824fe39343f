"""Send what a monitor found to loggers, files and the terminal. No other subpackage calls a logger."""
