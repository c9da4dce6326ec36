"""`ivif demo`: a page on this machine where two pictures go in and a fused one comes out."""
