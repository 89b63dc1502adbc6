"""What the operator and the sensor share: dispatch, stored state, deadlines and waiting."""
