"""The whole paper for one trained net: a plan of steps, and its execution."""
