"""Files of thermal cameras: which they are, what they measure, and which of them are partners."""
