"""Pure mathematics of the loss surface, usable without Lightning: values in, values out."""
