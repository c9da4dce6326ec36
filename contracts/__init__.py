"""What all rooms agree on; this room imports none of them."""
