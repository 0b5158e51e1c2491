"""Many runs: plans of what needs what, and their execution."""
