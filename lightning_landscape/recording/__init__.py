"""From Lightning's hooks to one `StepRecord` per optimizer step."""
