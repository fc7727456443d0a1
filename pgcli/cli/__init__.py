"""What the user touches: one thin file per command; the terminal; errors."""
