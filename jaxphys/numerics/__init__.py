"""Linear algebra with safe gradients and operations on masked segments."""
