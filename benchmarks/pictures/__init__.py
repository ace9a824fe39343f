"""Every kind of picture, drawn from short real runs, and the pictures of the docs."""
