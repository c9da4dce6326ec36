"""`report score|curves|run|workspace`: scores of anyone's pictures, and what runs logged."""
