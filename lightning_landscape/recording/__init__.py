"""Lightning's hooks become one `StepRecord` per optimizer step."""
