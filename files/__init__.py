"""Files and folders that others may have made: how they are written, read, and trusted."""
