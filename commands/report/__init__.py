"""`report score|run|grid|workspace`: scores of anyone's pictures, and what runs logged."""
