"""What the machine has and lets this process use: memory, processors, devices."""
