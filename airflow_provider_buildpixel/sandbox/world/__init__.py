"""The state of the simulated service and everything that changes it, without HTTP."""
