"""Read what loggers have written: event files, CSV and JSON lines, whole or still being written."""
