"""Everything that is asked of a Trainer; Lightning's private attributes are read in `_compat` only."""
