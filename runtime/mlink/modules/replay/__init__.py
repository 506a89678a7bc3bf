"""Source module that plays a recorded stream back."""
