"""What a run needs of Lightning beyond what Lightning promises."""
