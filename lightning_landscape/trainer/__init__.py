"""What a monitor asks of a training run; undocumented attributes of Lightning and torch are read in `_compat` only."""
