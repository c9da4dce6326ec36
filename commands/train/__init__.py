"""`fit`, `validate`, `test` and `predict`: Lightning's commands with the suite's run folders and refusals."""
