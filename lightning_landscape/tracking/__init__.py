"""State that is updated with every optimizer step: the trend of the loss, and the gradient norms."""
