"""What the library costs; each module prints a Markdown table."""
