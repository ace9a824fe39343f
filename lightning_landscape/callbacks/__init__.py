"""The only room that knows Lightning."""
