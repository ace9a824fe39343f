"""How fast the Landscape tab of TensorBoard shows many long runs, and pictures of what it shows."""
