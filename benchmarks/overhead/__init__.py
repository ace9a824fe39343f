"""Compare the time of training with and without the callbacks of this library and of other tools."""
